"""`supervisor watch`, as far as no terminal is needed."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command import ask
from typer.testing import CliRunner

from supervisor.cli.app import app
from supervisor.cli.watch_command import watch
from supervisor.events.schema import RunFinishedEvent, RunStartedEvent, RunStatus, RunSummary
from supervisor.events.writer import EventLog
from supervisor.run_layout import RunLayout
from supervisor.testing.clock import FakeClock


def test_a_run_that_has_ended_is_told_in_lines_to_its_end(tmp_path: Path) -> None:
    summary = RunSummary(status=RunStatus.FINISHED, steps=5, applied_steps=5)
    with EventLog(RunLayout(tmp_path / "run").rank_events, "r", 0, FakeClock()) as log:
        log.emit(RunStartedEvent(steps=5))
        log.emit(RunFinishedEvent(status=RunStatus.FINISHED, summary=summary))
    done = ask("watch", "run", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:3] == [
        "run r started: steps 5",
        "finished after 5 steps, 0 incidents",
        "Finished",
    ]


@pytest.mark.parametrize(
    ("directory", "said"),
    [("none", "none: no such run directory: name"), (".", ".: not a run directory, it has no events/: name")],
)
def test_where_there_is_no_run_it_says_what_to_name(tmp_path: Path, directory: str, said: str) -> None:
    done = ask("watch", directory, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(said)


def test_its_help_teaches() -> None:
    shown = " ".join(CliRunner().invoke(app, ["watch", "--help"]).output.split())
    assert "started elsewhere" in shown
    assert "130 Ctrl-C" in shown
    assert watch.__doc__ is not None
