"""Processes that are started for what a command line cannot do itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.errors import InputError
from supervisor.process.fresh_process import tell, with_its_job


def test_a_run_directory_has_its_job(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: there is no such run directory"):
        with_its_job(tmp_path / "nowhere", "export")
    with pytest.raises(InputError, match=r"has no job\.yaml, so its trainer cannot be built: export is for runs of"):
        with_its_job(tmp_path, "export")
    (tmp_path / "job.yaml").touch()
    assert with_its_job(tmp_path, "export") == tmp_path


def test_what_was_found_is_printed_and_a_reader_may_leave(capsys: pytest.CaptureFixture[str]) -> None:
    tell("mrr 0.5")
    assert capsys.readouterr().out == "mrr 0.5\n"
    script = "from supervisor.process.fresh_process import tell; input(); tell('x' * 100_000); tell('and more')"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        # Gone before anything is written.
        process.stdout.close()
        process.stdin.write(b"\n")
        process.stdin.close()
        assert (process.wait(), process.stderr.read()) == (0, b"")
