"""Reading: merged, in order, without torn tails and without what a resume lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.errors import InputError
from supervisor.events.reader import EventFile, follow, read_events
from supervisor.events.schema import (
    Event,
    ExitClassification,
    RunFinishedEvent,
    RunHaltedEvent,
    RunResumedEvent,
    RunStatus,
    RunSummary,
    WarningEvent,
    WorkerExitedEvent,
    WorkerStartedEvent,
)
from supervisor.events.writer import EventLog
from supervisor.testing.clock import FakeClock

SUMMARY = RunSummary(status=RunStatus.FINISHED, steps=1, applied_steps=1)
FINISHED = RunFinishedEvent(status=RunStatus.FINISHED, summary=SUMMARY)


def log_at(run_dir: Path, name: str = "rank0", rank: int | None = 0, seconds: float = 0.0) -> EventLog:
    clock = FakeClock(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds), tick_seconds=1.0)
    return EventLog(run_dir / "events" / f"{name}.jsonl", "r", rank, clock)


def note(message: object, update: int | None = None) -> WarningEvent:
    return WarningEvent(message=str(message), update=update)


def told(events: Iterator[Event]) -> list[str]:
    return [event.message if isinstance(event, WarningEvent) else event.event for event in events]


def test_files_are_merged_by_time(tmp_path: Path):
    log, parent = log_at(tmp_path), log_at(tmp_path, "supervisor", None, seconds=0.5)
    for number in range(3):
        log.emit(note(f"worker {number}"))
        parent.emit(note(f"parent {number}"))

    assert told(read_events(tmp_path)) == [
        *("worker 0", "parent 0", "worker 1", "parent 1", "worker 2", "parent 2"),
    ]


def test_at_the_same_time_the_parent_comes_first(tmp_path: Path):
    log_at(tmp_path).emit(note("worker"))
    log_at(tmp_path, "supervisor", None).emit(note("parent"))

    assert told(read_events(tmp_path)) == ["parent", "worker"]


def test_a_file_keeps_its_own_order_when_the_clock_was_set_back(tmp_path: Path):
    log_at(tmp_path, seconds=100).emit(note("a"))
    log_at(tmp_path, seconds=0).emit(note("b"))
    log_at(tmp_path, seconds=0).emit(note("c"))
    log_at(tmp_path, "supervisor", None, seconds=50).emit(note("parent"))

    assert told(read_events(tmp_path)) == ["parent", "a", "b", "c"]


@given(st.integers(min_value=0))
@settings(max_examples=60)
def test_a_file_cut_at_any_byte_reads_up_to_its_last_whole_line(tmp_path_factory: pytest.TempPathFactory, at: int):
    run_dir = tmp_path_factory.mktemp("cut")
    log = log_at(run_dir)
    for number in range(3):
        log.emit(note(number))
    assert log.path is not None
    whole = log.path.read_bytes()
    cut = whole[: at % (len(whole) + 1)]
    log.path.write_bytes(cut)

    assert told(read_events(run_dir)) == [str(number) for number in range(cut.count(b"\n"))]


@pytest.mark.parametrize("tail", [b"", b'{"schema"'])
def test_a_last_line_that_is_torn_in_its_middle_is_left_out(tmp_path: Path, tail: bytes):
    log = log_at(tmp_path)
    log.emit(note("a"))
    assert log.path is not None
    with log.path.open("ab") as file:
        file.write(b'{"schema":1,"ti' + b"\0" * 50 + b'"}\n' + tail)

    assert told(read_events(tmp_path)) == ["a"]


@pytest.mark.parametrize("damage", ["not json", "{}", '{"schema":1,"event":"step"}', ""])
def test_a_damaged_line_before_the_last_is_named(tmp_path: Path, damage: str):
    log = log_at(tmp_path)
    log.emit(note("a"))
    assert log.path is not None
    with log.path.open("a") as file:
        file.write(f"{damage}\n")
        file.write(log.path.read_text())

    events = read_events(tmp_path)
    assert told(iter([next(events)])) == ["a"]
    with pytest.raises(InputError) as refused:
        next(events)
    assert str(refused.value).startswith(f"{log.path}:2: not an event: ")
    assert str(refused.value).endswith(": restore or delete it")


@pytest.mark.parametrize("read", [read_events, follow])
def test_a_missing_run_directory_is_refused_at_once(tmp_path: Path, read):
    with pytest.raises(InputError, match="no such run directory: name the folder"):
        read(tmp_path / "gone")
    with pytest.raises(InputError, match="not a run directory, it has no events/: name the folder"):
        read(tmp_path)


def test_a_resume_makes_void_what_came_at_or_after_its_update(tmp_path: Path):
    log = log_at(tmp_path)
    for update in (8, 9, 10, 11):
        log.emit(note(update, update))
    log.emit(note("no update"))
    log.emit(RunResumedEvent(checkpoint_step=10, update=10))
    for update in (10, 11):
        log.emit(note(f"again {update}", update))

    assert told(read_events(tmp_path)) == [
        *("8", "9", "no update", "run_resumed", "again 10", "again 11"),
    ]


def test_a_later_resume_from_further_back_makes_an_earlier_one_void_too(tmp_path: Path):
    log = log_at(tmp_path)
    log.emit(note(4, 4))
    log.emit(note(7, 7))
    log.emit(RunResumedEvent(checkpoint_step=6, update=6))
    log.emit(note("second 6", 6))
    log.emit(RunResumedEvent(checkpoint_step=5, update=5))
    log.emit(note("third 5", 5))
    log.emit(note("third 8", 8))
    log.emit(RunResumedEvent(checkpoint_step=7, update=7))
    log.emit(note("fourth 7", 7))

    assert told(read_events(tmp_path)) == ["4", "run_resumed", "third 5", "run_resumed", "fourth 7"]


def test_a_resume_concerns_its_own_rank_alone(tmp_path: Path):
    log_at(tmp_path, "rank1", 1).emit(note("rank 1", 9))
    log_at(tmp_path, "supervisor", None).emit(note("parent", 9))
    log = log_at(tmp_path)
    log.emit(note("rank 0", 9))
    log.emit(RunResumedEvent(checkpoint_step=5, update=5))

    assert sorted(told(read_events(tmp_path))) == ["parent", "rank 1", "run_resumed"]


def test_a_resume_concerns_its_own_rank_in_a_file_of_several_too(tmp_path: Path):
    for rank in (0, 1):
        log_at(tmp_path, "all", rank).emit(note(f"rank {rank}", 9))
    log_at(tmp_path, "all", 1).emit(RunResumedEvent(checkpoint_step=5, update=5))

    assert told(read_events(tmp_path)) == ["rank 0", "run_resumed"]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8)), max_size=25))
@settings(max_examples=100)
def test_the_void_rule_as_the_design_puts_it(tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[bool, int]]):
    run_dir = tmp_path_factory.mktemp("void")
    log = log_at(run_dir)
    (run_dir / "events").mkdir(exist_ok=True)
    for number, (resumes, update) in enumerate(lines):
        log.emit(RunResumedEvent(checkpoint_step=number, update=update) if resumes else note(number, update))

    kept = [
        "run_resumed" if resumes else str(number)
        for number, (resumes, update) in enumerate(lines)
        if not any(later and at <= update for later, at in lines[number + 1 :])
    ]
    assert told(read_events(run_dir)) == kept


def test_follow_hands_out_what_comes_and_ends_with_the_run(tmp_path: Path):
    log, parent = log_at(tmp_path), log_at(tmp_path, "supervisor", None, seconds=-1)
    log.emit(note("a"))
    polls: list[float] = []

    def world(seconds: float) -> None:
        polls.append(seconds)
        assert log.path is not None
        if len(polls) == 1:
            with log.path.open("a") as file:
                file.write('{"half')
        elif len(polls) == 2:
            # A new writer cuts the torn tail and goes on.
            log_at(tmp_path, seconds=60).emit(note("b"))
            log_at(tmp_path, "rank1", 1, seconds=59).emit(note("another file"))
        elif len(polls) == 3:
            parent.emit(FINISHED)

    events = follow(tmp_path, clock=FakeClock(on_sleep=world), poll_seconds=0.25)

    assert told(events) == ["a", "another file", "b", "run_finished"]
    assert polls == [0.25] * 3


def test_follow_ends_when_it_is_told_to(tmp_path: Path):
    log_at(tmp_path).emit(note("a"))
    clock = FakeClock()

    assert told(follow(tmp_path, clock=clock, stop=lambda: len(clock.sleeps) == 4)) == ["a"]


def test_follow_does_not_take_the_end_of_an_earlier_session_for_the_end(tmp_path: Path):
    log = log_at(tmp_path)
    log.emit(RunFinishedEvent(status=RunStatus.INTERRUPTED, summary=SUMMARY))
    log.emit(RunResumedEvent(checkpoint_step=1, update=1))
    clock = FakeClock(on_sleep=lambda seconds: log.emit(RunHaltedEvent(reason="x")))

    assert told(follow(tmp_path, clock=clock)) == ["run_finished", "run_resumed", "run_halted"]
    assert len(clock.sleeps) == 1


def test_follow_waits_through_a_crash_and_ends_with_a_worker_that_is_not_started_again(tmp_path: Path):
    parent = log_at(tmp_path, "supervisor", None)

    def exits(classification: ExitClassification) -> None:
        parent.emit(WorkerExitedEvent(pid=1, exit_code=2, signal=None, classification=classification))

    exits(ExitClassification.KILLED)
    clock = FakeClock(on_sleep=lambda seconds: exits(ExitClassification.BAD_INPUT))

    assert told(follow(tmp_path, clock=clock)) == ["worker_exited", "worker_exited"]
    assert len(clock.sleeps) == 1


def test_follow_of_a_run_that_has_ended_does_not_wait(tmp_path: Path):
    log = log_at(tmp_path)
    log.emit(WorkerStartedEvent(pid=1))
    log.emit(FINISHED)
    log.emit(note("after the end"))
    clock = FakeClock()

    assert told(follow(tmp_path, clock=clock)) == ["worker_started", "run_finished", "after the end"]
    assert clock.sleeps == []


def test_reading_does_not_hold_the_whole_log(tmp_path: Path):
    # One line of each file is in hand at a time: reading stops where the reader stops.
    log = log_at(tmp_path)
    for number in range(50):
        log.emit(note(number))
    assert log.path is not None
    lines = log.path.read_text().splitlines(keepends=True)
    log.path.write_text("".join([*lines[:25], "damaged\n", *lines[25:]]))

    events = read_events(tmp_path)
    first = [next(events) for _ in range(24)]

    assert all(before.time < after.time for before, after in pairwise(first))


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return EventLog(tmp_path / "rank0.jsonl", "r", 0, FakeClock())


def file_of(log: EventLog, *, with_void: bool = False) -> EventFile:
    assert log.path is not None
    return EventFile(log.path, with_void=with_void)


def note_at(update: int) -> WarningEvent:
    return WarningEvent(message=f"at {update}", update=update)


def told_by(file: EventFile) -> list[str]:
    def text(event: Event) -> str:
        return event.message if isinstance(event, WarningEvent) else event.event

    return [text(event) for event in file.events()]


def test_a_second_reading_goes_on_where_the_first_stopped(log: EventLog):
    log.emit(note_at(1))
    file = file_of(log)
    assert told_by(file) == ["at 1"]
    assert told_by(file) == []
    log.emit(note_at(2))
    assert told_by(file) == ["at 2"]
    assert file.line == 2
    assert file.offset == file.path.stat().st_size


def test_a_line_that_is_being_written_is_read_when_it_is_whole(log: EventLog):
    log.emit(note_at(1))
    file = file_of(log)
    whole = file.path.read_bytes()
    file.path.write_bytes(whole + whole[:20])
    assert told_by(file) == ["at 1"]
    file.path.write_bytes(whole * 2)
    assert told_by(file) == ["at 1"]


def test_what_a_resume_made_void_is_given_only_when_asked_for(log: EventLog):
    for event in (note_at(4), note_at(5), RunResumedEvent(checkpoint_step=5, update=5), note_at(5)):
        log.emit(event)
    assert told_by(file_of(log)) == ["at 4", "run_resumed", "at 5"]
    assert told_by(file_of(log, with_void=True)) == ["at 4", "at 5", "run_resumed", "at 5"]


def test_a_line_that_is_no_event_is_named_where_another_follows(log: EventLog):
    log.emit(note_at(1))
    file = file_of(log)
    whole = file.path.read_bytes()
    file.path.write_bytes(whole + b'{"event":"warning"}\n')
    assert told_by(file) == ["at 1"]
    file.path.write_bytes(whole + b'{"event":"warning"}\n' + whole)
    with pytest.raises(InputError, match=r"rank0\.jsonl:2: not an event: message: .*: restore or delete it"):
        told_by(file)
