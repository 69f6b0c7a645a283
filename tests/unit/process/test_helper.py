"""A module runs in a process of its own, hears what it is told, and its code comes back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.errors import InputError
from supervisor.process.helper import run_helper, with_its_job

CHILD = "import os, signal, sys; text = sys.stdin.read(); print(text + sys.argv[1])\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    (tmp_path / "child.py").write_text(CHILD + "sys.exit(7)\n")
    (tmp_path / "killed.py").write_text(CHILD + "os.kill(os.getpid(), signal.SIGKILL)\n")


def test_it_hears_what_it_is_told_and_answers(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as out:
        assert run_helper("child", "you", told="hello ", output=out.fileno()) == 7
    assert (tmp_path / "out").read_text() == "hello you\n"


def test_a_signal_is_a_negative_number() -> None:
    assert run_helper("killed", "you", told="", output=os.open(os.devnull, os.O_WRONLY)) == -9


def test_a_run_directory_has_its_job(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: there is no such run directory"):
        with_its_job(tmp_path / "nowhere", "export")
    with pytest.raises(InputError, match=r"has no job\.yaml, so its trainer cannot be built: export is for runs of"):
        with_its_job(tmp_path, "export")
    (tmp_path / "job.yaml").touch()
    assert with_its_job(tmp_path, "export") == tmp_path
