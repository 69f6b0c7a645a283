"""Seconds of a run, whatever its clocks say of the time of day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from supervisor.events.schema import WarningEvent
from supervisor.report.timeline import Timeline

START = datetime(2026, 1, 1, tzinfo=UTC)


def line(seconds: float, monotonic: float | None = None, boot: str | None = None, rank: int | None = 0) -> WarningEvent:
    time = START + timedelta(seconds=seconds)
    return WarningEvent(message="", time=time, monotonic=monotonic, boot=boot, rank=rank)


def placed(*lines: WarningEvent) -> list[float]:
    timeline = Timeline()
    given = []
    for each in lines:
        timeline.tell(each)
        given.append(timeline.now)
    return given


def test_of_one_machine_the_monotonic_clock_tells_and_the_time_of_day_may_jump() -> None:
    assert placed(line(0, 100.0, "a"), line(-3600, 101.5), line(7200, 104.0)) == [0.0, 1.5, 4.0]


def test_parent_and_worker_of_one_machine_are_measured_by_one_clock() -> None:
    parent, worker = line(0, 100.0, "a", rank=None), line(-3600, 103.0, "a")
    assert placed(parent, worker, line(0, 105.0, rank=None)) == [0.0, 3.0, 5.0]


def test_a_line_that_is_placed_after_later_ones_takes_no_time_and_makes_none() -> None:
    stalled = line(0, 103.0, "a", rank=None)
    assert placed(line(0, 100.0, "a"), line(0, 110.0), stalled, line(0, 112.0)) == [0.0, 10.0, 10.0, 12.0]


def test_between_machines_the_time_of_day_tells() -> None:
    assert placed(line(0, 5000.0, "a"), line(60, 3.0, "b"), line(-99, 4.0)) == [0.0, 60.0, 61.0]


def test_a_log_of_before_is_measured_by_the_time_of_day_which_never_takes_time_back() -> None:
    assert placed(line(0), line(10), line(-3590), line(-3585)) == [0.0, 10.0, 10.0, 15.0]
