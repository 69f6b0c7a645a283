"""A job with a loader of rows in a folder of its own, resolved as the command line resolves it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command import write_job

from supervisor.job import ResolvedJob, load_job
from supervisor.preflight.spec import PreflightSpec
from supervisor.process.spec import WorkerSpec

Resolve = Callable[..., ResolvedJob]


@pytest.fixture
def resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolve]:
    """Resolves a job of the trainer in `tests/support/table.py`; `config` says what is wrong with it.

    What building it does to the process is undone: threads, seeds, imports and their path.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "table", sys)
    del sys.modules["table"]
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    shutil.copy(Path(__file__).parents[2] / "support" / "table.py", tmp_path)

    def resolve(**values: Any) -> ResolvedJob:
        job = {"trainer": "table:Table", "steps": 1000, "run_dir": "runs/mine", "device": "cpu", **values}
        return load_job(write_job(tmp_path, **job).name)

    yield resolve
    torch.set_num_threads(threads)
    torch.set_rng_state(state)


@pytest.fixture
def spec(resolve: Resolve, tmp_path: Path) -> Callable[..., PreflightSpec]:
    """What the process of a preflight is told of such a job."""

    def spec(rows: int | None = None, **values: Any) -> PreflightSpec:
        folder = tmp_path / ".preflight-test"
        folder.mkdir(exist_ok=True)
        worker = WorkerSpec.of(resolve(**values), run_id="preflight", resume=False)
        return PreflightSpec(worker=worker, source="job.yaml", rows=rows, folder=folder)

    return spec
