"""`supervisor explain`: what it prints, and what it hands on."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from supervisor.cli.app import app
from supervisor.cli.explain_command import explain
from supervisor.errors import InputError
from supervisor.events import schema
from supervisor.process import incident_rerun
from supervisor.process.exits import WorkerEnd, write_process_incident
from supervisor.run_layout import RunLayout

RUNNER = CliRunner()


def said(*arguments: str) -> str:
    done = RUNNER.invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_its_help_says_what_it_tells() -> None:
    assert str(explain.__doc__)[:20] in said("explain", "--help")


def test_explain(run_dir: str) -> None:
    assert said("explain", run_dir).startswith(f"{run_dir}: 1 incident, 1 step lost")
    assert said("explain", run_dir, "1").startswith("Incident 1: nonfinite_loss at step 3: recovered by skip_batch")
    assert json.loads(said("explain", run_dir, "--json"))["incidents"][0]["id"] == 1
    assert json.loads(said("explain", run_dir, "1", "--json"))["cured_by"] == "skip_batch"


def test_explain_of_what_befell_the_process(run_dir: str) -> None:
    end = WorkerEnd(-9, schema.ExitClassification.KILLED)
    write_process_incident(RunLayout(Path(run_dir)), end, None, datetime(2026, 1, 1, tzinfo=UTC))
    assert said("explain", run_dir).startswith(f"{run_dir}: 2 incidents (1 of the training, 1 of its process)")
    assert said("explain", run_dir, "process-1").startswith("Incident process-1: the worker was gone at ")
    assert json.loads(said("explain", run_dir, "process-1", "--json"))["signal"] == "SIGKILL"
    for asked in (["process-2"], ["process-1", "--replay"], ["--replay"]):
        assert isinstance(RUNNER.invoke(app, ["explain", run_dir, *asked]).exception, InputError)


@pytest.mark.parametrize("as_json", [False, True])
def test_explain_runs_the_step_of_one_incident_again(
    run_dir: str, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    given: list[tuple[Path, Path, bool]] = []

    def rerun(run_dir: Path, folder: Path, *, as_json: bool) -> int:
        given.append((run_dir, folder, as_json))
        return 2

    monkeypatch.setattr(incident_rerun, "rerun_incident", rerun)
    arguments = ["explain", run_dir, "1", "--replay", *(["--json"] if as_json else [])]
    assert RUNNER.invoke(app, arguments).exit_code == 2
    assert given == [(Path(run_dir), RunLayout(Path(run_dir)).incident(1), as_json)]
