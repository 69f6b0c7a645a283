"""Time to recover, as far as a log can tell."""

from __future__ import annotations

import pytest

from supervisor.events import schema
from supervisor.events.schema import ExitClassification
from supervisor.records import ActionName
from supervisor.report.times import RunTimes


def test_before_anything_happened_nothing_is_known():
    times = RunTimes()
    assert (times.position, times.flagged_steps, times.mttr_seconds) == (0, 0, None)


def test_time_to_recover_runs_from_the_signal_to_the_next_healthy_step(run):
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


def test_two_flagged_updates_with_healthy_ones_between_are_two_recoveries(run):
    run.step(1, 1)
    run.flag(10, 20, 20, opens=True, takes=2)
    run.flag(50, 25, 25, takes=4)
    run.step(60, 30, 30)

    assert run.status().mttr_seconds == pytest.approx((2 + 4) / 2 + 0.5)


def test_time_to_recover_of_a_process_runs_from_its_stall_to_the_resume(run):
    run.step(1, 9)
    run.at(10, schema.WorkerStalledEvent(pid=5, seconds=300))
    run.at(12, run.exited(ExitClassification.STALLED))
    run.at(20, schema.RunResumedEvent(checkpoint_step=10, update=10))

    assert run.status().mttr_seconds == pytest.approx(10 + 0.5)


def test_a_halt_is_no_recovery(run):
    run.step(1, 1)
    run.flag(10, 20, 20, opens=True, action=ActionName.HALT, rung=4)
    run.at(11, schema.RunHaltedEvent(step=20, update=20, reason="x"))

    assert run.status().mttr_seconds is None
