"""Runs that nothing happens to, for those to which something does to be compared with."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command import supervise
from support.runs import made_once, steady_job


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a steady run of 200 steps, finished in one go."""

    def make(folder: Path) -> None:
        steady_job(folder)
        done = supervise("run", "job.yaml", cwd=folder)
        assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "unbroken", make)
