"""Processes that are started for what a command line cannot do itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.errors import InputError
from supervisor.process.fresh_process import with_its_job


def test_a_run_directory_has_its_job(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: there is no such run directory"):
        with_its_job(tmp_path / "nowhere", "export")
    with pytest.raises(InputError, match=r"has no job\.yaml, so its trainer cannot be built: export is for runs of"):
        with_its_job(tmp_path, "export")
    (tmp_path / "job.yaml").touch()
    assert with_its_job(tmp_path, "export") == tmp_path
