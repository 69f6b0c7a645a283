"""One sink that is told the log: how far, what becomes of what it raises, and what is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.runs import until
from support.written_run import WrittenRun

from supervisor.events.schema import Event
from supervisor.sinks.base import Memory, Sink, SinkError
from supervisor.sinks.feeding import MOST_FAILURES, Feeding
from supervisor.sinks.place import read_kept
from supervisor.testing.clock import FakeClock

PATIENCE_SECONDS = 60


class Noting(Sink):
    """Notes what it is told, and does what the test wants at each event."""

    def __init__(self, at: Callable[[Event], object] = lambda event: None) -> None:
        self.told: list[str] = []
        self.calls: list[str] = []
        self.memory: Memory | None = None
        self._at = at

    def open(self, memory: Memory) -> str | None:
        self.memory = memory
        self.calls.append("open")
        return "http://here"

    def tell(self, event: Event, *, void: bool) -> None:
        self._at(event)
        self.told.append(f"{event.event}{'' if event.step is None else event.step}{' void' if void else ''}")

    def flush(self) -> Memory:
        self.calls.append("flush")
        return {"told": len(self.told)}

    def close(self) -> None:
        self.calls.append("close")


class Recalling(Noting):
    recalls = True

    def recall(self, event: Event, *, void: bool) -> None:
        self.told.append(f"again {event.event}")


class Reports(list[tuple[str, str, str]]):
    def __call__(self, kind: str, sink: str, text: str) -> None:
        self.append((kind, sink, text))

    def failures(self) -> list[str]:
        return [text for kind, _, text in self if kind == "failed"]


@pytest.fixture
def run(tmp_path: Path) -> WrittenRun:
    found = WrittenRun(tmp_path)
    found.start()
    return found


def fed(run: WrittenRun, sink: Sink, reports: Reports, clock: FakeClock | None = None) -> Feeding:
    """A sink that was told all there is, and ended."""
    feeding = Feeding("mine", lambda: sink, run.layout, reports, clock or FakeClock())
    feeding.end()
    feeding.run()
    return feeding


def test_it_is_told_all_there_is_once_and_closed(run: WrittenRun) -> None:
    run.steps(0, 1)
    sink, reports = Noting(), Reports()
    fed(run, sink, reports)
    assert sink.told == ["worker_started", "run_started", "step0", "step1"]
    assert sink.calls == ["open", "flush", "close"]
    assert reports == [("ready", "mine", "http://here")]
    assert sink.memory == {}


def test_the_next_process_goes_on_from_there_with_what_it_has_kept(run: WrittenRun) -> None:
    fed(run, Noting(), Reports())
    run.steps(0)
    sink = Noting()
    fed(run, sink, Reports())
    assert sink.told == ["step0"]
    assert sink.memory == {"told": 2}


def test_one_that_wants_to_is_told_again_what_was_before(run: WrittenRun) -> None:
    fed(run, Noting(), Reports())
    run.steps(0)
    sink = Recalling()
    fed(run, sink, Reports())
    assert sink.told == ["again worker_started", "again run_started", "step0"]


def test_lines_of_other_ranks_are_left_out(run: WrittenRun) -> None:
    line = run.layout.rank_events.read_text().replace('"rank":0', '"rank":1')
    run.layout.events.joinpath("rank1.jsonl").write_text(line)
    sink = Noting()
    fed(run, sink, Reports())
    assert sink.told == ["worker_started", "run_started"]


def test_while_the_run_goes_on_it_is_told_what_comes(run: WrittenRun) -> None:
    sink = Noting()
    feeding = Feeding("mine", lambda: sink, run.layout, Reports(), FakeClock())
    feeding.thread.start()
    until(lambda: len(sink.told) == 2, seconds=PATIENCE_SECONDS)
    run.steps(0)
    until(lambda: len(sink.told) == 3, seconds=PATIENCE_SECONDS)
    feeding.end()
    feeding.thread.join(PATIENCE_SECONDS)
    assert sink.calls[-1] == "close"


def test_one_that_raises_is_reported_once_and_told_what_comes_next(run: WrittenRun) -> None:
    run.steps(0, 1, 2)

    def at(event: Event) -> None:
        if event.step in (0, 1):
            raise RuntimeError("no such luck")

    sink, reports = Noting(at), Reports()
    fed(run, sink, reports)
    assert sink.told == ["worker_started", "run_started", "step2"]
    assert reports.failures() == [
        "raised RuntimeError: no such luck; it is told what comes next, and is left out after 10 such in a row"
    ]
    # What it has failed at is not tried again.
    after = Noting()
    fed(run, after, Reports())
    assert after.told == []


def test_one_that_always_raises_is_left_out(run: WrittenRun) -> None:
    run.steps(*range(2 * MOST_FAILURES))
    tries: list[Event] = []

    def at(event: Event) -> None:
        tries.append(event)
        raise SinkError("cannot: write something else")

    sink, reports = Noting(at), Reports()
    fed(run, sink, reports)
    assert len(tries) == MOST_FAILURES
    assert len(reports.failures()) == 1
    assert reports.failures()[0].startswith("cannot: write something else; ")
    assert sink.calls[-1] == "close"


def test_one_that_cannot_begin_is_left_out(run: WrittenRun) -> None:
    def build() -> Sink:
        raise SinkError("cannot serve: write another `port`")

    reports = Reports()
    Feeding("mine", build, run.layout, reports, FakeClock()).run()
    assert reports == [("failed", "mine", "cannot serve: write another `port`; it is left out")]


def test_what_was_not_flushed_is_told_again_by_the_next_process(run: WrittenRun) -> None:
    class Full(Noting):
        def flush(self) -> Memory:
            raise OSError(28, "No space left on device")

    reports = Reports()
    fed(run, Full(), reports)
    assert "No space left on device" in reports.failures()[0]
    sink = Noting()
    fed(run, sink, Reports())
    assert sink.told == ["worker_started", "run_started"]


def test_what_cannot_wait_is_kept_at_once(run: WrittenRun) -> None:
    run.steps(0, 1)
    kept: list[int] = []

    def at(event: Event) -> None:
        sink.cannot_wait = event.step == 0
        kept.append(len(read_kept(run.layout.sink_place("mine")).places))

    sink = Noting(at)
    fed(run, sink, Reports())
    # Nothing was kept up to the first step, and its place was as the second one came.
    assert kept == [0, 0, 0, 2]


def test_one_that_has_much_to_be_told_is_flushed_meanwhile(run: WrittenRun) -> None:
    run.steps(*range(20))
    clock = FakeClock()
    sink = Noting(lambda event: clock.advance(1.0))
    fed(run, sink, Reports(), clock)
    assert 3 <= sink.calls.count("flush") <= 6


def test_a_call_that_takes_long_is_reported_once_while_it_lasts(run: WrittenRun) -> None:
    clock, called, go_on = FakeClock(), threading.Event(), threading.Event()

    def at(event: Event) -> None:
        called.set()
        assert go_on.wait(PATIENCE_SECONDS)

    sink, reports = Noting(at), Reports()
    feeding = Feeding("mine", lambda: sink, run.layout, reports, clock)
    feeding.thread.start()
    assert called.wait(PATIENCE_SECONDS)
    feeding.watch()
    assert reports.failures() == []
    clock.advance(4.5)
    feeding.watch()
    feeding.watch()
    assert reports.failures() == ["is slow: one call takes more than 4 s; it is told the rest as it gets to it"]
    run.steps(0, 1)
    feeding.left_behind()
    assert reports.failures()[1] == "3 lines of the log were not told within flush_seconds; a resume goes on from there"
    go_on.set()
    feeding.end()
    feeding.thread.join(PATIENCE_SECONDS)
    assert sink.told == ["worker_started", "run_started", "step0", "step1"]


def test_a_log_that_is_damaged_is_reported(run: WrittenRun) -> None:
    text = run.layout.rank_events.read_text()
    run.layout.rank_events.write_text(f"{text}no event\n{text}")
    sink, reports = Noting(), Reports()
    fed(run, sink, reports)
    assert "rank0.jsonl:2: not an event" in reports.failures()[0]
    assert sink.calls[-1] == "close"
