"""A job in a folder of its own, resolved as the command line resolves it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command import write_job, write_trainer

from supervisor.job import ResolvedJob, load_job

Resolve = Callable[..., ResolvedJob]


@pytest.fixture
def resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Resolves a job with other values than its own, from the folder that it and its trainer lie in."""
    monkeypatch.chdir(tmp_path)
    trainer = write_trainer(tmp_path)

    def resolve(**values: Any) -> ResolvedJob:
        job = {"trainer": trainer, "steps": 20, "run_dir": "run", "device": "cpu", "cpu_threads": 1, **values}
        return load_job(str(write_job(tmp_path, **job)))

    return resolve


@pytest.fixture
def process_as_before(resolve: Resolve, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undoes what a worker does to the process that it has to itself: threads, seeds, imports and their path."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("mine", "saved"):
        monkeypatch.setitem(sys.modules, name, sys)
        del sys.modules[name]
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    yield
    torch.set_num_threads(threads)
    torch.set_rng_state(state)
