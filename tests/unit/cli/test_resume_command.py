"""`supervisor resume` goes on with a run in the place where it was started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.command import write_job
from typer.testing import CliRunner

from supervisor.cli.app import app
from supervisor.cli.resume_command import AFTER_HALT
from supervisor.errors import ExitCode, InputError
from supervisor.job import ResolvedJob, load_job
from supervisor.process import parent
from supervisor.process.run_directory import RunDirectory

RUNNER = CliRunner()


class Parent:
    """Remembers what it was given, and where it stood."""

    given: tuple[ResolvedJob, dict[str, Any], Path]

    def __init__(self, resolved: ResolvedJob, **how: Any) -> None:
        type(self).given = (resolved, how, Path.cwd())

    def run(self) -> ExitCode:
        return ExitCode.HALTED


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a run was started in; the user stands in another one now."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    write_job(home, trainer="mine:Tiny", steps=20, run_dir="run")
    directory = RunDirectory(load_job("job.yaml", steps=33))
    directory.open_new()
    directory.prepare()
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")
    monkeypatch.setattr(parent, "Parent", Parent)
    return home


def test_from_anywhere_in_the_place_where_it_was_started(home: Path) -> None:
    assert RUNNER.invoke(app, ["resume", "../home/run"]).exit_code == ExitCode.HALTED
    resolved, how, there = Parent.given
    assert (resolved.job.steps, resolved.run_dir.resolve(), there) == (33, home / "run", home)
    assert how == {"resume": True, "after_halt": False}


def test_its_flags(home: Path, tmp_path: Path) -> None:
    (tmp_path / "away" / "p.yaml").write_text("probation_steps: 7\n")
    flags = [AFTER_HALT, "--steps", "50", "--policy", "p.yaml", "--set", "policy.cooldown_steps=5"]
    RUNNER.invoke(app, ["resume", "../home/run", *flags])
    resolved, how, _ = Parent.given
    assert (resolved.job.steps, resolved.policy.probation_steps, resolved.policy.cooldown_steps) == (50, 7, 5)
    assert how == {"resume": True, "after_halt": True}


def test_a_run_of_an_earlier_version_is_gone_on_with_where_the_user_stands(home: Path, tmp_path: Path) -> None:
    (home / "run" / "place.json").unlink()
    RUNNER.invoke(app, ["resume", "../home/run"])
    assert Parent.given[2] == tmp_path / "away"


def test_nothing_there(home: Path) -> None:
    assert isinstance(RUNNER.invoke(app, ["resume", "nowhere"]).exception, InputError)
