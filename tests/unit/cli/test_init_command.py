"""`supervisor init`: what it writes runs, and nothing is written over."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command import ask

from supervisor.cli.init_command import FILES
from supervisor.job import load_job
from supervisor.policy import load_policy


def test_a_job_a_policy_and_a_trainer_are_written_each_line_explained(tmp_path: Path) -> None:
    done = ask("init", "mine/new", cwd=tmp_path)
    folder = tmp_path / "mine" / "new"
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "cd mine/new && supervisor run job.yaml"
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    for name in ("job.yaml", "policy.yaml"):
        lines = (folder / name).read_text().splitlines()
        unexplained = [line for line in lines if line and "#" not in line and not line.endswith(":")]
        assert unexplained == []
    load_policy(str(folder / "policy.yaml"))
    assert load_job(str(folder / "job.yaml")).job.trainer == "my_trainer:MyTrainer"


@pytest.mark.parametrize("name", FILES)
def test_a_directory_that_has_any_of_them_is_left_as_it_is(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    done = ask("init", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == f".: holds {name} already: choose another directory\n"
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]


def test_a_place_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = ask("init", "file/in", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        2,
        "file/in: cannot be written (Not a directory): choose another directory\n",
    )
