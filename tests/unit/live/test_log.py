"""The log of a run that is being written, read on."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.errors import InputError
from supervisor.events import schema
from supervisor.events.writer import EventLog
from supervisor.live.log import FoldedLog, LiveLog
from supervisor.live.picture import Signs
from supervisor.report.status import read_status
from supervisor.run_layout import RunLayout


def names(log: LiveLog) -> list[str]:
    return [event.event for event, _ in log.read_on()]


def test_it_is_read_on_from_where_the_last_look_stopped(written: Any) -> None:
    log = LiveLog(written.layout)
    assert names(log) == []
    written.begin()
    assert names(log) == ["worker_started", "run_started"]
    written.step(2, 1)
    assert (names(log), names(log), log.files, log.begun_anew) == (["step"], [], 2, False)


def test_a_torn_last_line_is_read_once_it_is_whole(written: Any) -> None:
    written.begin()
    written.step(2, 1)
    path = written.layout.rank_events
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    log = LiveLog(written.layout)
    assert names(log) == ["worker_started", "run_started"]
    path.write_bytes(whole)
    assert names(log) == ["step"]


def test_a_file_that_a_worker_begins_anew_is_read_from_its_start(written: Any) -> None:
    """One that died before its first checkpoint: the next one begins the run again."""
    written.begin()
    log, folded = LiveLog(written.layout), FoldedLog(written.layout)
    names(log)
    folded.read_on()
    written.layout.rank_events.unlink()
    written.at(5, schema.WorkerStartedEvent(pid=8, restarts=1, steps=100))
    written.at(6, schema.RunStartedEvent(steps=100))
    for step in range(20):
        written.step(7 + step, step)
    assert names(log) == ["worker_started", "run_started", "step"]
    assert log.begun_anew
    folded.read_on()
    assert folded.fold.status() == read_status(written.layout.root, written.clock).model_copy(
        update={"heartbeat_seconds": None}
    )


def test_one_that_is_gone_is_forgotten(written: Any) -> None:
    written.begin()
    log = LiveLog(written.layout)
    names(log)
    written.layout.rank_events.unlink()
    assert names(log) == []
    assert (log.begun_anew, log.files) == (True, 1)


def test_after_a_resume_only_what_counts_is_left(written: Any) -> None:
    """What is void by now was told while it counted."""
    folded = FoldedLog(written.layout)
    written.begin()
    for step in (19, 39, 59):
        written.step(step, step)
    written.flag(60, 60, 1)
    folded.read_on()
    before = folded.fold.picture(Signs(now=written.clock.now()))
    written.die(61)
    written.resume(70, 40)
    folded.read_on()
    after = folded.fold.picture(Signs(now=written.clock.now()))
    assert (before.step, before.incidents) == (61, 1)
    assert (after.step, after.incidents, after.incident_steps, after.rung) == (40, 0, (), None)
    assert [step for step, _ in after.losses] == [19, 39]
    assert folded.fold.status() == read_status(written.layout.root, written.clock)


def test_sixteen_ranks_are_merged_and_rank_0_speaks(written: Any) -> None:
    written.begin()
    written.step(2, 19)
    for rank in range(1, 16):
        other = EventLog(RunLayout(written.layout.root, rank).rank_events, "r", rank, written.clock)
        other.emit(schema.RunStartedEvent(steps=100))
        rates = {"lr": 0.01, "lr_scale": 1.0, "step_seconds": 0.5}
        other.emit(schema.StepEvent(step=99, update=99, loss=9.0, grad_norm=1.0, **rates))
    folded = FoldedLog(written.layout)
    folded.read_on()
    assert folded.files == 17
    assert folded.fold.picture(Signs(now=written.clock.now())).loss == 1.0
    assert folded.fold.curve.points == ((19, 1.0),)


def test_a_line_that_is_no_event_is_told_with_its_place(written: Any) -> None:
    written.begin()
    with written.layout.rank_events.open("a") as file:
        file.write("nonsense\n")
    written.step(2, 1)
    with pytest.raises(InputError, match=r"rank0\.jsonl:2: not an event"):
        FoldedLog(written.layout).read_on()
