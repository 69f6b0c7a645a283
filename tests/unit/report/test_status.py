"""Where a run stands, read from logs as the writer writes them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from rich.console import Console

from supervisor.errors import InputError
from supervisor.events import schema
from supervisor.events.schema import ExitClassification, KnownEvent, RunStatus, RunSummary
from supervisor.events.writer import EventLog
from supervisor.records import ActionName, SignalName
from supervisor.report.status import RunState, Status, read_status
from supervisor.report.status_view import duration, render_status
from supervisor.testing.clock import FakeClock

START = datetime(2026, 1, 1, tzinfo=UTC)
STARTED = schema.RunStartedEvent(steps=100, seed=7, trainer="mine:Trainer")


class Run:
    """Writes a run's events at the seconds they happen."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.clock = FakeClock(START)
        self.worker = EventLog(run_dir / "events" / "rank0.jsonl", "run-1", 0, self.clock)
        self.parent = EventLog(run_dir / "events" / "supervisor.jsonl", "run-1", None, self.clock)

    def at(self, seconds: float, *events: KnownEvent) -> None:
        self.clock.advance(seconds - self.clock.monotonic())
        for event in events:
            log = self.parent if event.event.startswith("worker_") else self.worker
            log.emit(event)

    def step(self, seconds: float, step: int, update: int | None = None, loss: float = 1.0) -> None:
        self.at(
            seconds,
            schema.StepEvent(
                step=step,
                update=step if update is None else update,
                loss=loss,
                grad_norm=2.0,
                lr=0.01,
                lr_scale=1.0,
                step_seconds=0.5,
            ),
        )

    def flag(
        self,
        seconds: float,
        step: int,
        update: int,
        *,
        action: ActionName = ActionName.SKIP_BATCH,
        rung: int = 0,
        incident: int = 1,
        opens: bool = False,
        takes: float = 0.0,
        restored_step: int | None = None,
    ) -> None:
        at = {"step": step, "update": update}
        self.at(seconds, schema.SignalEvent(**at, signal=SignalName.NONFINITE_LOSS))
        if opens:
            self.at(seconds, schema.IncidentOpenedEvent(**at, incident=incident))
        self.at(
            seconds,
            schema.DecisionEvent(**at, incident=incident, rung=rung, action=action, attempt=1, reason="because"),
        )
        applied = schema.ActionAppliedEvent(
            **at, incident=incident, action=action, seconds=takes, restored_step=restored_step
        )
        self.at(seconds + takes, applied)

    def close(self, seconds: float, step: int, update: int, *, incident: int = 1) -> None:
        closed = schema.IncidentClosedEvent(
            step=step,
            update=update,
            incident=incident,
            cured_by=ActionName.SKIP_BATCH,
            steps_lost=1,
            seconds=1.0,
        )
        self.at(seconds, closed)

    def status(self) -> Status:
        return read_status(self.run_dir)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path)
    run.at(0, STARTED)
    return run


def exited(classification: ExitClassification) -> schema.WorkerExitedEvent:
    return schema.WorkerExitedEvent(pid=5, exit_code=None, signal="SIGKILL", classification=classification)


def finished(status: RunStatus = RunStatus.FINISHED, goodput: float | None = None) -> schema.RunFinishedEvent:
    summary = RunSummary(status=status, steps=100, applied_steps=99, lr_scale=0.5, goodput=goodput)
    assert status is not RunStatus.HALTED
    return schema.RunFinishedEvent(status=status, summary=summary)


def test_a_healthy_run(run: Run):
    run.step(10, 19, loss=0.75)

    status = run.status()

    assert (status.run_id, status.state) == ("run-1", RunState.RUNNING)
    assert (status.step, status.steps, status.update) == (20, 100, 19)
    assert (status.loss, status.grad_norm, status.lr, status.lr_scale) == (0.75, 2.0, 0.01, 1.0)
    assert (status.applied_updates, status.flagged_updates, status.incidents) == (20, 0, 0)
    assert (status.rung, status.open_incident, status.mttr_seconds) == (None, None, None)
    assert (status.started, status.updated) == (START, START + timedelta(seconds=10))
    assert status.goodput == pytest.approx(20 * 0.5 / 10)


def test_nothing_but_a_started_worker_is_unknown(tmp_path: Path):
    run = Run(tmp_path)
    run.at(0, schema.WorkerStartedEvent(pid=3))

    status = run.status()

    assert (status.state, status.step, status.update) == (RunState.UNKNOWN, None, None)


def test_a_missing_run_is_bad_input(tmp_path: Path):
    with pytest.raises(InputError, match="no such run directory"):
        read_status(tmp_path / "gone")


def test_an_open_incident_shows_its_rung_and_a_closed_one_its_cure(run: Run):
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


def test_an_incident_counts_under_the_signal_that_opened_it(run: Run):
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


def test_an_observed_signal_is_no_flagged_update(run: Run):
    run.at(1, schema.SignalEvent(step=3, update=3, signal=SignalName.SANITIZED_VALUES))

    status = run.status()

    assert (status.applied_updates, status.flagged_updates, status.incidents) == (4, 0, 0)


@pytest.mark.parametrize(
    ("event", "state", "reason"),
    [
        (finished(), RunState.FINISHED, None),
        (finished(RunStatus.INTERRUPTED), RunState.INTERRUPTED, None),
        (schema.RunHaltedEvent(reason="nothing left"), RunState.HALTED, "nothing left"),
        (exited(ExitClassification.KILLED), RunState.CRASHED, "worker 5 is gone: killed (SIGKILL)"),
    ],
    ids=["finished", "interrupted", "halted", "crashed"],
)
def test_how_a_run_ended(run: Run, event: KnownEvent, state: RunState, reason: str | None):
    run.step(1, 5)
    run.at(2, event)

    status = run.status()
    assert (status.state, status.reason) == (state, reason)

    # An exit in good order after the end says nothing new.
    run.at(3, exited(ExitClassification.FINISHED))
    assert run.status().state is state

    run.at(4, schema.RunResumedEvent(checkpoint_step=4, update=4, steps=200))
    again = run.status()
    assert (again.state, again.reason, again.steps) == (RunState.RUNNING, None, 200)


def test_a_halt_leaves_no_incident_open(run: Run):
    run.flag(1, 5, 5, opens=True, action=ActionName.HALT, rung=4)
    run.at(1, schema.RunHaltedEvent(step=5, update=5, reason="x"))

    status = run.status()

    assert (status.rung, status.open_incident, status.incidents) == (None, None, 1)


def test_a_finished_run_stands_at_its_summary(run: Run):
    run.step(10, 79)
    run.at(12, finished(goodput=0.9))

    status = run.status()

    assert (status.step, status.lr_scale, status.goodput) == (100, 0.5, 0.9)


def test_a_resume_takes_back_what_was_lost(run: Run):
    saved = "checkpoints/step-00000010"
    run.step(5, 9)
    run.at(5, schema.CheckpointSavedEvent(step=10, update=10, checkpoint_step=10, path=saved))
    run.flag(6, 12, 12, opens=True)
    run.step(7, 14)
    run.at(8, exited(ExitClassification.KILLED))
    run.at(20, schema.RunResumedEvent(checkpoint_step=10, update=10, path=saved))

    status = run.status()

    assert (status.step, status.update, status.incidents, status.flagged_updates) == (10, 9, 0, 0)
    assert status.last_checkpoint == saved
    assert status.state is RunState.RUNNING


def test_checkpoints_new_good_and_rejected(run: Run):
    for step in (10, 20, 30):
        run.at(step, schema.CheckpointSavedEvent(checkpoint_step=step, path=f"c/{step}"))
    run.at(30, schema.CheckpointPromotedEvent(checkpoint_step=10, path="c/10"))
    run.at(30, schema.CheckpointPromotedEvent(checkpoint_step=20, path="c/20"))
    assert (run.status().last_checkpoint, run.status().last_good_checkpoint) == ("c/30", "c/20")

    run.at(31, schema.CheckpointRejectedEvent(checkpoint_step=30, path="c/30", reason="torn"))
    run.at(31, schema.CheckpointRejectedEvent(checkpoint_step=20, path="c/20", reason="torn"))
    assert (run.status().last_checkpoint, run.status().last_good_checkpoint) == ("c/10", "c/10")


def test_a_checkpoint_that_is_saved_anew_is_the_newest_and_on_probation(run: Run):
    for step in (10, 20, 30):
        run.at(step, schema.CheckpointSavedEvent(checkpoint_step=step, path=f"c/{step}"))
        run.at(step, schema.CheckpointPromotedEvent(checkpoint_step=step, path=f"c/{step}"))

    run.at(31, schema.CheckpointSavedEvent(checkpoint_step=20, path="c/20"))

    assert (run.status().last_checkpoint, run.status().last_good_checkpoint) == ("c/20", "c/30")


def test_the_learning_rate_scale_follows_cuts_and_their_return(run: Run):
    run.step(1, 1)
    run.at(2, schema.ActionAppliedEvent(incident=1, action=ActionName.LOWER_LR, seconds=0, lr_scale=0.25))
    assert run.status().lr_scale == 0.25

    run.at(3, schema.LrRestoredEvent(lr_scale=0.5))
    assert run.status().lr_scale == 0.5


def test_goodput_leaves_out_skipped_steps_lost_steps_and_the_wait_after_a_crash(run: Run):
    run.step(5, 9)
    run.flag(6, 12, 12, opens=True)
    run.step(10, 19)
    assert run.status().goodput == pytest.approx(19 * 0.5 / 10), "one of 20 steps was discarded"

    run.flag(
        11,
        20,
        20,
        action=ActionName.RELOAD_CHECKPOINT,
        rung=2,
        takes=1,
        restored_step=10,
    )
    assert run.status().step == 10
    assert run.status().goodput == pytest.approx(10 * 0.5 / 12), "the skipped step was undone with the rest"

    run.at(15, exited(ExitClassification.KILLED))
    run.at(30, schema.RunResumedEvent(checkpoint_step=10, update=21))
    run.step(40, 29, 40)
    assert run.status().goodput == pytest.approx(30 * 0.5 / 40)


def test_goodput_leaves_out_the_time_between_an_interruption_and_the_resume(run: Run):
    run.step(10, 9)
    run.at(10, finished(RunStatus.INTERRUPTED))
    run.at(5000, schema.RunResumedEvent(checkpoint_step=10, update=10))
    run.step(5010, 19)

    status = run.status()

    assert status.seconds == pytest.approx(20)
    assert status.goodput == pytest.approx(20 * 0.5 / 20)


def test_time_to_recover_runs_from_the_signal_to_the_next_healthy_step(run: Run):
    run.step(1, 1)
    run.flag(10, 20, 20, opens=True)
    run.flag(12, 21, 21, action=ActionName.RELOAD_CHECKPOINT, rung=2, takes=3)
    assert run.status().mttr_seconds is None, "not over yet"

    run.step(16, 30, 30)
    assert run.status().mttr_seconds == pytest.approx(5 + 0.5)

    # A stretch of its own in the same incident: healthy updates lie between.
    run.flag(20, 31, 35, takes=1)
    run.close(30, 60, 60)
    assert run.status().mttr_seconds == pytest.approx((5 + 1) / 2 + 0.5)


def test_two_flagged_updates_with_healthy_ones_between_are_two_recoveries(run: Run):
    run.step(1, 1)
    run.flag(10, 20, 20, opens=True, takes=2)
    run.flag(50, 25, 25, takes=4)
    run.step(60, 30, 30)

    assert run.status().mttr_seconds == pytest.approx((2 + 4) / 2 + 0.5)


def test_time_to_recover_of_a_process_runs_from_its_stall_to_the_resume(run: Run):
    run.step(1, 9)
    run.at(10, schema.WorkerStalledEvent(pid=5, seconds=300))
    run.at(12, exited(ExitClassification.STALLED))
    run.at(20, schema.RunResumedEvent(checkpoint_step=10, update=10))

    assert run.status().mttr_seconds == pytest.approx(10 + 0.5)


def test_a_halt_is_no_recovery(run: Run):
    run.step(1, 1)
    run.flag(10, 20, 20, opens=True, action=ActionName.HALT, rung=4)
    run.at(11, schema.RunHaltedEvent(step=20, update=20, reason="x"))

    assert run.status().mttr_seconds is None


def test_of_several_ranks_one_speaks_for_all(run: Run):
    other = EventLog(run.run_dir / "events" / "rank1.jsonl", "run-1", 1, run.clock)
    run.flag(1, 2, 2, opens=True)
    other.emit(schema.IncidentOpenedEvent(step=2, update=2, incident=9))

    assert run.status().incidents == 1


def refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is not strict JSON")


def test_status_is_strict_json_that_reads_back(run: Run):
    run.step(1, 1, loss=float("nan"))

    text = run.status().model_dump_json()

    assert json.loads(text, parse_constant=refuse)["loss"] == "nan"
    assert Status.model_validate_json(text).model_dump_json() == text


def show(status: Status, now: datetime | None = None) -> str:
    out = io.StringIO()
    Console(file=out, width=120).print(render_status(status, now))
    return out.getvalue()


def test_the_view_says_what_is_known(run: Run):
    run.step(10, 19, loss=0.75)
    run.flag(11, 20, 20, opens=True)
    run.at(12, schema.MetricsEvent(metrics={"mrr": 0.05}))

    shown = " ".join(show(run.status(), START + timedelta(seconds=212)).split())

    for expected in (
        "run run-1",
        "state running",
        "step 21 of 100",
        "updates 21 attempted: 20 applied, 1 flagged and discarded",
        "loss 0.75",
        "learning rate 0.01 x 1",
        "incidents 1 (nonfinite_loss 1)",
        "rung 0 (incident 1 is open)",
        "metrics mrr 0.05",
        "last event 2026-01-01 00:00:12 UTC (3 min 20 s ago)",
    ):
        assert expected in shown


def test_the_view_of_nothing_is_short(tmp_path: Path):
    run = Run(tmp_path)

    assert show(run.status()).split() == ["state", "unknown", "incidents", "0"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0.25, "0.25 s"),
        (48, "48 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_durations_read_as_a_person_says_them(seconds: float, text: str):
    assert duration(seconds) == text


def test_neither_events_nor_report_import_torch():
    script = (
        "import sys; import supervisor.events.console, supervisor.events.reader, supervisor.events.writer; "
        "import supervisor.report, supervisor.clock; sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, env={"PYTHONPATH": ":".join(sys.path)})

    assert done.returncode == 0
