"""One account of the wall time over all lives of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.events import schema
from supervisor.events.reader import read_events
from supervisor.events.schema import Event, ExitClassification, RunStatus, RunSummary
from supervisor.events.time_account import TimeAccount
from supervisor.events.writer import EventLog
from supervisor.records import ActionName, SignalName
from supervisor.report.account import Accounting, LiveAccount, account_of
from supervisor.report.status import RunState, read_status

STARTED = schema.WorkerStartedEvent(pid=5)


def accounted(run: Any) -> TimeAccount:
    return account_of(read_events(run.run_dir, with_void=True))


def trained(run: Any, seconds: float, step: int, applied: float, states: float = 0.0) -> None:
    values = {"loss": 1.0, "grad_norm": 1.0, "lr": 0.1, "lr_scale": 1.0, "step_seconds": 0.1}
    spent = {"applied_seconds": applied, "states_seconds": states}
    run.at(seconds, schema.StepEvent(step=step, update=step, **values, **spent))


def saved(run: Any, seconds: float, step: int) -> None:
    run.at(seconds, schema.CheckpointSavedEvent(step=step, update=step - 1, checkpoint_step=step, path=f"c/{step}"))


def ended(steps: int, applied: float) -> schema.RunFinishedEvent:
    summary = RunSummary(status=RunStatus.FINISHED, steps=steps, applied_steps=steps)
    return schema.RunFinishedEvent(status=RunStatus.FINISHED, summary=summary, applied_seconds=applied)


def parts(account: TimeAccount) -> dict[str, float]:
    return {name: pytest.approx(value) for name, value in account.parts.items() if value}


def test_a_run_over_two_lives(unstarted):
    run = unstarted
    run.at(0, STARTED)
    run.at(3, schema.RunStartedEvent(steps=100))
    trained(run, 13, 19, applied=8.0, states=1.0)
    saved(run, 13, 20)
    trained(run, 18, 29, applied=12.0, states=1.0)
    run.at(20, run.exited(ExitClassification.KILLED))
    run.at(25, STARTED)
    run.at(28, schema.RunResumedEvent(checkpoint_step=20, update=20))
    trained(run, 38, 39, applied=9.0)
    run.at(39, schema.MetricsEvent(metrics={}, seconds=0.75))
    run.at(39, ended(40, applied=9.0))
    run.at(40, run.exited(ExitClassification.FINISHED))

    account = accounted(run)

    assert parts(account) == {
        "start_up": 3 + 3,
        "training": 8 + 9,
        "wasted": 4 + 2,  # ten steps, and what nobody has said of the last two seconds
        "checkpoints": 1,
        "down": 5,
        "other": 1 + 1 + 1 + 1 + 1,
    }
    assert account.seconds == pytest.approx(40)
    assert account.goodput == pytest.approx(17 / 40)


def test_an_incident_takes_from_its_signal_to_its_last_action_and_a_reload_wastes_what_it_goes_back_over(run):
    trained(run, 10, 9, applied=10.0)
    trained(run, 20, 19, applied=20.0)
    run.flag(22, 21, 21, opens=True, action=ActionName.RELOAD_CHECKPOINT, rung=2, takes=3, restored_step=10)
    trained(run, 35, 19, applied=31.0)
    account = accounted(run)
    assert account.recovery == pytest.approx(3)
    assert account.training == pytest.approx(20)
    # Ten steps of 10 s; one of the 2 s after them; and the flagged one.
    assert account.wasted == pytest.approx(10 + 1 + 1)
    assert account.seconds == pytest.approx(35)


def test_a_finding_that_was_merely_observed_is_no_recovery(run):
    run.at(4, schema.SignalEvent(step=3, update=3, signal=SignalName.SANITIZED_VALUES))
    trained(run, 10, 9, applied=10.0)
    assert parts(accounted(run)) == {"training": 10}


def test_silence_is_no_training(run):
    trained(run, 10, 9, applied=10.0)
    run.at(31, schema.WorkerStalledEvent(pid=5, seconds=20.0))
    run.at(33, run.exited(ExitClassification.STALLED))
    run.at(34, schema.RunResumedEvent(checkpoint_step=10, update=10))
    assert parts(accounted(run)) == {"training": 10, "wasted": 1, "down": 20 + 2 + 1}


def test_experiments_are_recovery(run):
    run.at(6, schema.ExperimentEvent(step=5, update=5, kind="trial", batches=1, verdict="unharmed", seconds=2.0))
    trained(run, 10, 9, applied=8.0)
    assert parts(accounted(run)) == {"training": 8, "recovery": 2}


def test_the_time_between_an_end_in_good_order_and_a_resume_is_beside_the_account(run):
    trained(run, 10, 9, applied=10.0)
    run.at(10, run.finished(RunStatus.INTERRUPTED))
    run.at(5000, schema.RunResumedEvent(checkpoint_step=10, update=10))
    trained(run, 5010, 19, applied=10.0)
    account = accounted(run)
    assert (account.training, account.seconds, account.paused) == pytest.approx((20, 20, 4990))


def test_that_after_a_parent_that_was_killed_is_down(unstarted):
    run = unstarted
    run.at(0, STARTED)
    run.at(1, schema.RunStartedEvent(steps=100))
    trained(run, 11, 9, applied=10.0)
    run.parent = EventLog(run.parent.path, "run-1", None, run.clock)
    run.at(111, STARTED)
    run.at(112, schema.RunResumedEvent(checkpoint_step=10, update=10))
    assert parts(accounted(run)) == {"start_up": 2, "training": 10, "down": 100}


def test_a_clock_that_jumps_changes_neither_the_order_nor_the_account(tmp_path: Path):
    """The same lines, once on a clock that is set back by an hour in the middle, and forward by a day later on."""
    accounts, orders = [], []
    for jumps in (False, True):
        run_dir = tmp_path / str(jumps)
        clock = Jumping()
        parent, worker = (EventLog(run_dir / "events" / name, "r", rank, clock) for name, rank in FILES)
        for seconds, jump, event in TWO_LIVES:
            clock.seconds, clock.jump = seconds, jump if jumps else 0.0
            if isinstance(event, schema.WorkerStartedEvent):
                parent.emit(event)
                worker = EventLog(worker.path, "r", 0, clock)
            else:
                (parent if event.event.startswith("worker_") else worker).emit(event)
        accounts.append(account_of(read_events(run_dir, with_void=True)))
        status = read_status(run_dir)
        assert (status.state, status.seconds, status.account) == (RunState.FINISHED, 30.0, accounts[-1])
        orders.append([event.event for event in read_events(run_dir, with_void=True)])
    assert accounts[0] == accounts[1]
    assert orders[0] == orders[1] == [event.event for _, _, event in TWO_LIVES]
    assert accounts[1].seconds == 30.0


class Jumping:
    """A clock whose time of day is set, while its seconds go on."""

    seconds = jump = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds + self.jump)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        raise NotImplementedError


FILES = (("supervisor.jsonl", None), ("rank0.jsonl", 0))
HOUR, DAY = 3600.0, 86400.0
GONE = schema.WorkerExitedEvent(pid=5, exit_code=None, signal="SIGKILL", classification=ExitClassification.KILLED)
OVER = schema.WorkerExitedEvent(pid=5, exit_code=0, signal=None, classification=ExitClassification.FINISHED)
STEP = schema.StepEvent(
    step=9, update=9, loss=1, grad_norm=1, lr=1, lr_scale=1, step_seconds=1, applied_seconds=9, states_seconds=0
)
TWO_LIVES: Sequence[tuple[float, float, Any]] = (
    (0, 0, STARTED),
    (2, 0, schema.RunStartedEvent(steps=20)),
    (12, -HOUR, STEP),
    (13, -HOUR, GONE),
    (15, -HOUR, STARTED),
    (17, DAY, schema.RunResumedEvent(checkpoint_step=10, update=10)),
    (28, DAY, ended(20, 10.0)),
    (30, -HOUR, OVER),
)


def test_a_live_account_reads_on_from_where_it_stopped(run):
    live = LiveAccount(run.run_dir)
    trained(run, 10, 9, applied=9.0)
    first = live.read()
    trained(run, 20, 19, applied=18.0)
    assert (first, live.read()) == (TimeAccount(training=9, other=1), TimeAccount(training=18, other=2))
    run.worker.path.write_text("damaged\nlines\n" + run.worker.path.read_text())
    assert LiveAccount(run.run_dir).read() is None


def test_the_goodput_at_a_moment_is_what_the_account_will_have(run):
    """Start-up, an earlier life and the time in between count as in the account, before the next line is written."""
    run.at(2, schema.RunStartedEvent(steps=100))
    trained(run, 12, 9, applied=8.0)
    run.at(20, run.exited(ExitClassification.KILLED))
    run.at(25, STARTED)
    run.at(28, schema.RunResumedEvent(checkpoint_step=5, update=5))
    clock = schema.parse_event(run.worker.path.read_text().splitlines()[-1]).monotonic
    live = LiveAccount(run.run_dir)
    at_29 = live.goodput(clock + 1, 0.5, anew=True)
    at_31 = live.goodput(clock + 3, 2.5, anew=False)
    trained(run, 29, 5, applied=0.5)
    assert at_29 == pytest.approx(accounted(run).goodput)
    trained(run, 31, 7, applied=2.5)
    assert at_31 == pytest.approx(accounted(run).goodput)
    assert live.goodput(clock + 3, 2.5, anew=True) == pytest.approx(at_31)


def test_before_anything_was_trained_there_is_no_goodput(run):
    run.at(2, schema.RunStartedEvent(steps=100))
    live = LiveAccount(run.run_dir)
    assert live.goodput(1e9, 1.0, anew=False) is None
    assert live.goodput(1e9, 0.0, anew=True) is None


# Any order of any events: what does not happen in a run may stand in its log after a crash or two.

places = {"step": st.integers(0, 40), "update": st.integers(0, 40)}
times = st.none() | st.floats(0, 50)
kinds: list[st.SearchStrategy[Any]] = [
    st.just(STARTED),
    st.just(GONE),
    st.just(OVER),
    st.just(schema.RunStartedEvent()),
    st.builds(schema.RunResumedEvent, checkpoint_step=st.integers(0, 40)),
    st.builds(schema.WorkerStalledEvent, pid=st.just(5), seconds=st.floats(0, 50) | st.just(math.nan)),
    st.builds(ended, st.integers(0, 40), times),
    st.just(schema.RunHaltedEvent(reason="x")),
    st.builds(schema.MetricsEvent, metrics=st.just({}), seconds=st.floats(0, 50)),
    st.builds(schema.CheckpointSavedEvent, checkpoint_step=st.integers(0, 40), path=st.just("c")),
    st.builds(schema.SignalEvent, signal=st.sampled_from(SignalName), **places),
    st.builds(
        schema.StepEvent,
        **dict.fromkeys(("loss", "grad_norm", "lr", "lr_scale"), st.just(1.0)),
        step_seconds=st.floats(0, 5),
        applied_seconds=times,
        states_seconds=times,
        **places,
    ),
    st.builds(
        schema.DecisionEvent,
        **dict.fromkeys(("incident", "attempt"), st.just(1)),
        rung=st.just(0),
        action=st.just(ActionName.SKIP_BATCH),
        reason=st.just(""),
        **places,
    ),
    st.builds(
        schema.ActionAppliedEvent,
        incident=st.just(1),
        action=st.just(ActionName.RELOAD_CHECKPOINT),
        seconds=st.just(1.0),
        restored_step=st.none() | st.integers(0, 40),
        **places,
    ),
]


@given(st.lists(st.tuples(st.floats(-100, 100), st.one_of(kinds)), max_size=40))
def test_the_parts_add_up_to_the_wall_time_whatever_happened(told: list[tuple[float, Event]]):
    accounting, monotonic = Accounting(), 0.0
    for seconds, event in told:
        monotonic += seconds
        rank = None if event.event.startswith("worker_") else 0
        accounting.tell(event.model_copy(update={"rank": rank, "monotonic": monotonic, "boot": "a"}))
        account = accounting.account
        assert min(account.model_dump().values()) >= -1e-9
        assert account.seconds + account.paused == pytest.approx(accounting.timeline.now)
