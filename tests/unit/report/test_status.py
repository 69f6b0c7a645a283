"""Where a run stands, read from logs as the writer writes them."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

import pytest

from supervisor.errors import InputError
from supervisor.events import schema, sparse_file
from supervisor.events.reader import read_events
from supervisor.events.schema import ExitClassification, KnownEvent, RunStatus, RunSummary
from supervisor.events.writer import EventLog
from supervisor.evidence import Blame, Evidence
from supervisor.records import ActionName, SignalName
from supervisor.report.status import RunState, Status, read_status, status_of

START = datetime(2026, 1, 1, tzinfo=UTC)


def told(run: Any) -> Status:
    """By the log alone: there are no checkpoints on disk."""
    return status_of(read_events(run.run_dir))


def test_a_healthy_run(run):
    run.step(10, 19, loss=0.75)

    status = run.status()

    assert (status.run_id, status.state) == ("run-1", RunState.RUNNING)
    assert (status.step, status.steps, status.update) == (20, 100, 19)
    assert (status.loss, status.grad_norm, status.lr, status.lr_scale) == (0.75, 2.0, 0.01, 1.0)
    assert (status.applied_updates, status.flagged_updates, status.incidents) == (20, 0, 0)
    assert (status.rung, status.open_incident, status.mttr_seconds) == (None, None, None)
    assert (status.started, status.updated) == (START, START + timedelta(seconds=10))
    assert status.goodput == pytest.approx(20 * 0.5 / 10)


def test_updates_that_were_undone_with_a_stretch_are_not_applied_and_bad_batches_are_counted(run):
    run.step(10, 19)
    bad = Evidence(Blame.DATA, "they harmed", gone_back_over=3, finite=True)
    known = Evidence(Blame.DATA, "its bad row is known", batches=0)
    for update, evidence in ((20, bad), (21, known)):
        decision = {"incident": 1, "rung": 0, "action": ActionName.SKIP_BATCH, "attempt": 1, "reason": ""}
        run.at(11, schema.DecisionEvent(step=update, update=update, evidence=evidence, **decision))
    run.at(11, schema.QuarantinedEvent(step=21, update=21, incident=1, dataset_indices=(7, 9)))

    status = run.status()

    assert (status.applied_updates, status.flagged_updates) == (17, 5)
    assert (status.bad_batches, status.quarantined) == (2, (7, 9))


def test_nothing_but_a_started_worker_is_unknown(unstarted):
    unstarted.at(0, schema.WorkerStartedEvent(pid=3))

    status = unstarted.status()

    assert (status.state, status.step, status.update) == (RunState.UNKNOWN, None, None)


def test_a_missing_run_is_bad_input(tmp_path: Path):
    with pytest.raises(InputError, match="no such run directory"):
        read_status(tmp_path / "gone")


def test_an_open_incident_shows_its_rung_and_a_closed_one_its_cure(run):
    run.step(10, 19)
    run.flag(11, 20, 20, opens=True)
    run.flag(12, 21, 21, action=ActionName.LOWER_LR, rung=1)

    during = run.status()
    assert (during.rung, during.open_incident, during.incidents) == (1, 1, 1)
    assert (during.applied_updates, during.flagged_updates) == (20, 2)
    assert during.incidents_by_signal == {SignalName.NONFINITE_LOSS: 1}
    assert during.cured_by == {}

    run.close(20, 41, 41)
    after = run.status()
    assert (after.rung, after.open_incident) == (None, None)
    assert after.cured_by == {ActionName.SKIP_BATCH: 1}
    assert (after.step, after.applied_updates) == (42, 40)


def test_an_incident_counts_under_the_signal_that_opened_it(run):
    at = {"step": 3, "update": 3}
    names = (SignalName.NONFINITE_PARAMETER, SignalName.NONFINITE_LOSS)
    run.at(1, *(schema.SignalEvent(**at, signal=name) for name in names))
    run.at(1, schema.IncidentOpenedEvent(**at, incident=1, signals=names[::-1]))
    run.at(
        1,
        schema.DecisionEvent(**at, incident=1, rung=2, action=ActionName.RELOAD_CHECKPOINT, attempt=1, reason=""),
    )
    run.flag(2, 4, 4, incident=1)

    assert run.status().incidents_by_signal == {SignalName.NONFINITE_LOSS: 1}


def test_an_observed_signal_is_no_flagged_update(run):
    run.at(1, schema.SignalEvent(step=3, update=3, signal=SignalName.SANITIZED_VALUES))

    status = run.status()

    assert (status.applied_updates, status.flagged_updates, status.incidents) == (4, 0, 0)


@pytest.mark.parametrize(
    ("event", "state", "reason"),
    [
        (lambda run: run.finished(), RunState.FINISHED, None),
        (lambda run: run.finished(RunStatus.INTERRUPTED), RunState.INTERRUPTED, None),
        (lambda run: schema.RunHaltedEvent(reason="nothing left"), RunState.HALTED, "nothing left"),
        (lambda run: run.exited(ExitClassification.KILLED), RunState.RUNNING, "worker 5 is gone: killed (SIGKILL)"),
    ],
    ids=["finished", "interrupted", "halted", "crashed"],
)
def test_how_a_run_ended(run, event: Callable[[Any], KnownEvent], state: RunState, reason: str | None):
    run.step(1, 5)
    run.at(2, event(run))

    status = run.status()
    assert (status.state, status.reason) == (state, reason)

    # An exit in good order after the end says nothing new.
    run.at(3, run.exited(ExitClassification.FINISHED))
    assert run.status().state is state

    run.at(4, schema.RunResumedEvent(checkpoint_step=4, update=4, steps=200))
    again = run.status()
    assert (again.state, again.reason, again.steps) == (RunState.RUNNING, None, 200)


def test_a_halt_leaves_no_incident_open(run):
    run.flag(1, 5, 5, opens=True, action=ActionName.HALT, rung=4)
    run.at(1, schema.RunHaltedEvent(step=5, update=5, reason="x"))

    status = run.status()

    assert (status.rung, status.open_incident, status.incidents) == (None, None, 1)


def test_a_finished_run_stands_at_its_summary(run):
    run.step(10, 79)
    run.at(12, run.finished())

    status = run.status()

    assert (status.step, status.steps, status.lr_scale) == (100, 100, 0.5)


def test_a_resume_takes_back_what_was_lost(run):
    saved = "checkpoints/step-00000010"
    run.step(5, 9)
    run.at(5, schema.CheckpointSavedEvent(step=10, update=10, checkpoint_step=10, path=saved))
    run.flag(6, 12, 12, opens=True)
    run.step(7, 14)
    run.at(8, run.exited(ExitClassification.KILLED))
    run.at(20, schema.RunResumedEvent(checkpoint_step=10, update=10, path=saved))

    status = run.status()

    assert (status.step, status.update, status.incidents, status.flagged_updates) == (10, 9, 0, 0)
    assert told(run).last_checkpoint == saved
    assert status.state is RunState.RUNNING


def test_checkpoints_new_good_and_rejected(run):
    for step in (10, 20, 30):
        run.at(step, schema.CheckpointSavedEvent(checkpoint_step=step, path=f"c/{step}"))
    run.at(30, schema.CheckpointPromotedEvent(checkpoint_step=10, path="c/10"))
    run.at(30, schema.CheckpointPromotedEvent(checkpoint_step=20, path="c/20"))
    assert (told(run).last_checkpoint, told(run).last_good_checkpoint) == ("c/30", "c/20")

    run.at(31, schema.CheckpointRejectedEvent(checkpoint_step=30, path="c/30", reason="torn"))
    run.at(31, schema.CheckpointRejectedEvent(checkpoint_step=20, path="c/20", reason="torn"))
    assert (told(run).last_checkpoint, told(run).last_good_checkpoint) == ("c/10", "c/10")


def test_a_checkpoint_that_is_saved_anew_is_the_newest_and_on_probation(run):
    for step in (10, 20, 30):
        run.at(step, schema.CheckpointSavedEvent(checkpoint_step=step, path=f"c/{step}"))
        run.at(step, schema.CheckpointPromotedEvent(checkpoint_step=step, path=f"c/{step}"))

    run.at(31, schema.CheckpointSavedEvent(checkpoint_step=20, path="c/20"))

    assert (told(run).last_checkpoint, told(run).last_good_checkpoint) == ("c/20", "c/30")


def test_the_learning_rate_scale_follows_cuts_and_their_return(run):
    run.step(1, 1)
    run.at(2, schema.ActionAppliedEvent(incident=1, action=ActionName.LOWER_LR, seconds=0, lr_scale=0.25))
    assert run.status().lr_scale == 0.25

    run.at(3, schema.LrRestoredEvent(lr_scale=0.5))
    assert run.status().lr_scale == 0.5


def test_of_several_ranks_one_speaks_for_all(run):
    other = EventLog(run.run_dir / "events" / "rank1.jsonl", "run-1", 1, run.clock)
    run.flag(1, 2, 2, opens=True)
    other.emit(schema.IncidentOpenedEvent(step=2, update=2, incident=9))

    assert run.status().incidents == 1


def refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is not strict JSON")


def test_status_is_strict_json_that_reads_back(run):
    run.step(1, 1, loss=float("nan"))

    text = run.status().model_dump_json()

    assert json.loads(text, parse_constant=refuse)["loss"] == "nan"
    assert Status.model_validate_json(text).model_dump_json() == text


def test_neither_events_nor_report_import_torch():
    script = (
        "import sys; import supervisor.events.console, supervisor.events.reader, supervisor.events.writer; "
        "import supervisor.report.story_view, supervisor.report.tables; sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, env={"PYTHONPATH": ":".join(sys.path)})

    assert done.returncode == 0


def test_the_cures_in_force_are_named(run):
    assert run.status().cures == ()
    run.at(1, schema.CureChosenEvent(step=3, update=3, incident=1, cure="lr 0.1", score=1.0, keep_score=math.inf))
    assert run.status().cures == ("lr 0.1",)


def test_an_ended_run_has_the_numbers_of_its_summary_and_not_of_its_last_logged_step(run):
    run.step(10, 379, loss=0.6014)
    summary = RunSummary(status=RunStatus.FINISHED, steps=395, applied_steps=395, final_loss=0.3615)
    ended = schema.RunFinishedEvent(step=395, update=394, status=RunStatus.FINISHED, summary=summary)
    run.at(12, ended)

    status = run.status()

    assert (status.step, status.update, status.applied_updates) == (395, 394, 395)
    assert (status.loss, status.logged_step) == (0.3615, 379)

    run.at(13, schema.RunResumedEvent(checkpoint_step=395, update=395, steps=500))
    run.step(20, 399, loss=0.2)
    assert (run.status().applied_updates, run.status().loss) == (400, 0.2)


def test_a_halted_run_has_the_numbers_of_its_summary(run):
    run.step(10, 19, loss=2.0)
    run.flag(11, 25, 25, opens=True, action=ActionName.HALT, rung=4)
    summary = RunSummary(
        status=RunStatus.HALTED,
        steps=26,
        applied_steps=25,
        skipped_steps=1,
        lr_scale=0.25,
        final_loss=1.5,
        goodput=0.75,
        incidents=1,
        bad_batches=3,
    )
    run.at(11, schema.RunHaltedEvent(step=25, update=25, reason="x", summary=summary))

    status = run.status()

    assert (status.loss, status.lr_scale, status.bad_batches) == (1.5, 0.25, 3)
    assert (status.step, status.applied_updates, status.flagged_updates) == (26, 25, 1)


def test_updates_that_a_reload_has_undone_are_told_apart_from_those_that_stand(run):
    run.flag(1, 7, 7, opens=True)
    run.flag(2, 10, 10, action=ActionName.RELOAD_CHECKPOINT, rung=2, restored_step=5)
    run.step(3, 9, 15)

    status = run.status()

    assert (status.update, status.step) == (15, 10)
    assert (status.applied_updates, status.undone_updates, status.flagged_updates) == (14, 4, 2)


def test_of_a_traceback_the_last_line_is_the_reason(run):
    gone = run.exited(ExitClassification.EXCEPTION).model_copy(update={"reason": "Traceback\n  here\nValueError: no"})
    run.at(1, gone)
    assert run.status().reason == "worker 5 is gone: exception (ValueError: no)"


@pytest.mark.slow
def test_a_million_lines_are_mostly_not_looked_into(run):
    """Of a log that is steps for the most part; how many seconds it takes is measured in benchmarks/long_log.py."""
    row = 20_000
    for number in range(50):
        run.step(number, number * row + row - 1)
        run.at(number, schema.CheckpointPromotedEvent(checkpoint_step=number, path=f"c/{number}"))
    lines = run.worker.path.read_bytes().splitlines(keepends=True)
    with run.worker.path.open("wb") as file:
        for line in lines:
            file.writelines([line] * (row - 1 if b'"event":"step"' in line else 1))
    with mock.patch.object(sparse_file, "parse_event", wraps=sparse_file.parse_event) as parsed:
        status = run.status()
    assert run.worker.path.read_bytes().count(b"\n") == 50 * row + 1
    assert parsed.call_count < 50 * 10
    assert (status.step, status.update) == (50 * row, 50 * row - 1)
