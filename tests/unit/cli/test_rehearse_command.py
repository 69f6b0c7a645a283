"""`supervisor rehearse`: what it hands on, and what it prints; the rehearsal itself is told how it ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from support.command import write_job
from typer.testing import CliRunner

from supervisor.cli import rehearse_command
from supervisor.errors import ExitCode
from supervisor.faults import FaultScript
from supervisor.job import ResolvedJob
from supervisor.rehearsal import Score
from supervisor.rehearsal.score import score

RUNNER = CliRunner()


class Rehearsal:
    """Ends as it is told to, and remembers what it was given."""

    outcome: tuple[ExitCode, Score | None] = (ExitCode.FINISHED, None)
    given: tuple[ResolvedJob, str | None, str | None]

    def __init__(self, resolved: ResolvedJob, faults: str | None, reference: str | None) -> None:
        type(self).given = (resolved, faults, reference)

    def run(self, say: Callable[[str], object]) -> tuple[ExitCode, Score | None]:
        say("Rehearsal: 20 steps")
        return self.outcome


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rehearse_command, "Rehearsal", Rehearsal)
    monkeypatch.setattr(Rehearsal, "outcome", (ExitCode.FINISHED, score((), (), ())))
    write_job(tmp_path, trainer="mine:Tiny", steps=20, run_dir="runs/mine")
    app = typer.Typer()
    app.command()(rehearse_command.rehearse)
    return app


def test_without_a_directory_it_goes_beside_that_of_the_job(command: typer.Typer, tmp_path: Path) -> None:
    done = RUNNER.invoke(command, ["job.yaml"])
    assert done.exit_code == 0
    resolved, faults, reference = Rehearsal.given
    assert (resolved.run_dir, faults, reference) == (tmp_path / "runs" / "mine-rehearsal", None, None)
    assert "Rehearsal: 20 steps" in done.stdout


def test_flags_are_handed_on(command: typer.Typer, tmp_path: Path) -> None:
    flags = ["--faults", "f.yaml", "--run-dir", "out", "--reference", "ref", "--steps", "9", "--set", "seed=4"]
    assert RUNNER.invoke(command, ["job.yaml", *flags]).exit_code == 0
    resolved, faults, reference = Rehearsal.given
    assert (resolved.run_dir, faults, reference) == (tmp_path / "out", "f.yaml", "ref")
    assert (resolved.job.steps, resolved.job.seed) == (9, 4)


@pytest.mark.parametrize("code", [ExitCode.FINISHED, ExitCode.HALTED, ExitCode.BAD_INPUT])
def test_the_code_is_that_of_the_run_with_the_faults(
    command: typer.Typer, monkeypatch: pytest.MonkeyPatch, code: ExitCode
) -> None:
    monkeypatch.setattr(Rehearsal, "outcome", (code, None))
    done = RUNNER.invoke(command, ["job.yaml"])
    assert (done.exit_code, done.stdout) == (code, "\nRehearsal: 20 steps\n")


def test_for_machines_there_is_nothing_on_stdout_but_the_score(
    command: typer.Typer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    faults = FaultScript.model_validate({"faults": [{"kind": "nan_batch", "at_batch": 3}]}).faults
    found = score(faults, (), ())
    monkeypatch.setattr(Rehearsal, "outcome", (ExitCode.FINISHED, found))
    # The standard output of a test is no file descriptor, and that is what the runs' workers print to.
    with open(1, "w", closefd=False) as stdout, monkeypatch.context() as own:
        own.setattr(sys, "stdout", stdout)
        with pytest.raises(SystemExit) as ended:
            command(["job.yaml", "--json"])
    assert ended.value.code == 0
    told = capfd.readouterr()
    assert json.loads(told.out) == json.loads(found.model_dump_json())
    assert "Rehearsal: 20 steps" in told.err


def test_for_people_the_score_is_a_table_that_breaks_no_word(
    command: typer.Typer, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = FaultScript.model_validate({"faults": [{"kind": "nan_batch", "at_batch": 3}]}).faults
    monkeypatch.setattr(Rehearsal, "outcome", (ExitCode.FINISHED, score(faults, (), ())))
    monkeypatch.setenv("COLUMNS", "20")
    assert "nan_batch" in RUNNER.invoke(command, ["job.yaml"]).stdout
