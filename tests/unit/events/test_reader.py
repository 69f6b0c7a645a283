"""Reading: merged, in order, without torn tails and without what a resume lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.errors import InputError
from supervisor.events import sparse_file
from supervisor.events.reader import follow, read_events, read_sparsely
from supervisor.events.schema import (
    Event,
    ExitClassification,
    RunFinishedEvent,
    RunHaltedEvent,
    RunResumedEvent,
    RunStatus,
    RunSummary,
    StepEvent,
    WarningEvent,
    WorkerExitedEvent,
    WorkerStartedEvent,
)
from supervisor.events.writer import EventLog
from supervisor.run_layout import RunLayout
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


def test_lives_order_the_files_and_no_clock_does(tmp_path: Path):
    """The worker's clock is an hour behind its parent's, and both were set back before the second life."""
    exits = WorkerExitedEvent(pid=1, exit_code=None, signal="SIGKILL", classification=ExitClassification.KILLED)
    for life, seconds in ((1, 5400.0), (2, 0.0)):
        parent = log_at(tmp_path, "supervisor", None, seconds=seconds + 3600)
        parent.emit(WorkerStartedEvent(pid=life))
        worker = log_at(tmp_path, seconds=seconds)
        worker.emit(note(f"a {life}"))
        worker.emit(note(f"b {life}"))
        parent.emit(exits)
        parent.emit(note(f"parent {life}"))

    one = ["worker_started", "a 1", "b 1", "worker_exited", "parent 1"]
    two = ["worker_started", "a 2", "b 2", "worker_exited", "parent 2"]
    assert told(read_events(tmp_path)) == [*one, *two]
    assert [event.life for event in read_events(tmp_path)] == [1] * 5 + [2] * 5


def test_a_log_that_a_version_before_has_begun_comes_first_and_in_the_order_of_time(tmp_path: Path):
    parent, worker = log_at(tmp_path, "supervisor", None), log_at(tmp_path, seconds=0.5)
    parent.emit(WorkerStartedEvent(pid=1))
    worker.emit(note("old"))
    for path in (tmp_path / "events").iterdir():
        kept = {k: v for k, v in json.loads(path.read_text()).items() if k not in ("life", "monotonic", "boot")}
        path.write_text(json.dumps(kept) + "\n")
    log_at(tmp_path, "supervisor", None, seconds=-50).emit(WorkerStartedEvent(pid=2))
    log_at(tmp_path, seconds=-50).emit(note("new"))
    assert told(read_events(tmp_path)) == ["worker_started", "old", "worker_started", "new"]


def test_follow_ends_where_the_process_that_ran_it_is_gone(tmp_path: Path):
    log = log_at(tmp_path)
    log.emit(note("a"))
    lock = RunLayout(tmp_path).lock
    claims = "import sys; from pathlib import Path; from supervisor.events.owner_file import claim; "
    claims += "claim(Path(sys.argv[1]))"

    def world(seconds: float) -> None:
        log.emit(note("the last word"))
        subprocess.run([sys.executable, "-c", claims, str(lock)], check=True)

    clock = FakeClock(on_sleep=world)
    assert told(follow(tmp_path, clock=clock)) == ["a", "the last word"]
    assert len(clock.sleeps) == 1


def test_of_a_long_log_only_the_lines_that_matter_are_looked_into(tmp_path: Path):
    log = log_at(tmp_path)
    values = dict.fromkeys(("loss", "grad_norm", "lr", "lr_scale", "step_seconds"), 1.0)
    for number in range(300):
        log.emit(StepEvent(step=number, update=number, **values))
        if number % 100 == 99:
            log.emit(note(number, number))
    with mock.patch.object(sparse_file, "parse_event", wraps=sparse_file.parse_event) as parsed:
        found = [event.update for event, _ in read_sparsely(tmp_path)]
    assert found == [99, 99, 199, 199, 299, 299]
    assert parsed.call_count < 20


@pytest.mark.parametrize("read", [read_events, read_sparsely, follow])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, read):
    damaged = RunLayout(tmp_path).events / "rank1.jsonl"
    damaged.mkdir(parents=True)
    with pytest.raises(InputError, match=rf"^{damaged}: cannot be read \(Is a directory\): restore it"):
        list(read(tmp_path))
