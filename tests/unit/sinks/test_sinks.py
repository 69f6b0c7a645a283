"""All sinks of a run: none holds up another one, and all end within their time."""

from __future__ import annotations

import threading
from pathlib import Path

from support.written_run import WrittenRun

from supervisor.clock import SystemClock
from supervisor.events.schema import Event
from supervisor.sinks.base import Sink
from supervisor.sinks.sinks import run_sinks
from supervisor.testing.clock import FakeClock


class Noting(Sink):
    def __init__(self) -> None:
        self.told: list[str] = []

    def tell(self, event: Event, *, void: bool) -> None:
        self.told.append(event.event)


class Hanging(Sink):
    def __init__(self) -> None:
        self.go_on = threading.Event()

    def tell(self, event: Event, *, void: bool) -> None:
        self.go_on.wait()


class Raising(Sink):
    def tell(self, event: Event, *, void: bool) -> None:
        raise RuntimeError("no such luck")


def test_one_that_hangs_and_one_that_raises_hold_up_nobody(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run.start()
    run.steps(0)
    noting, hanging, reports = Noting(), Hanging(), list[tuple[str, str]]()
    end = threading.Event()
    end.set()
    run_sinks(
        {"hanging": lambda: hanging, "raising": Raising, "noting": lambda: noting},
        run.layout,
        lambda kind, sink, text: reports.append((sink, text)),
        end,
        flush_seconds=1.0,
        clock=SystemClock(),
    )
    hanging.go_on.set()
    assert noting.told == ["worker_started", "run_started", "step"]
    assert sorted(sink for sink, _ in reports) == ["hanging", "raising"]
    said = dict(reports)
    assert said["raising"].startswith("raised RuntimeError: no such luck")
    assert said["hanging"].startswith("2 lines of the log were not told")


def test_they_are_watched_until_the_end(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run.start()
    hanging, reports, clock = Hanging(), list[str](), FakeClock()

    class End:
        """Set once the slow one was reported; the time goes on with each wait."""

        def wait(self, timeout: float) -> bool:
            clock.advance(timeout)
            return bool(reports)

    run_sinks(
        {"hanging": lambda: hanging},
        run.layout,
        lambda kind, sink, text: reports.append(text),
        End(),
        flush_seconds=0.1,
        clock=clock,
    )
    hanging.go_on.set()
    assert reports[0].startswith("is slow")
    assert "not told" in reports[1]
