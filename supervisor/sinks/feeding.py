"""One sink on a thread of its own: it is told the log from its place on, and whatever it does stays there."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

from supervisor.clock import Clock
from supervisor.errors import InputError, said_by, text_of
from supervisor.events.step_line import counted
from supervisor.run_layout import RunLayout
from supervisor.sinks.base import Sink, SinkError
from supervisor.sinks.place import Kept, read_kept, write_kept
from supervisor.sinks.tail import Tail

__all__ = ["Feeding", "Report"]

Report = Callable[[str, str, str], object]
"""`(kind, sink, text)`: `ready` with an address, or `failed` with what happened."""

POLL_SECONDS = 0.5
KEEP_SECONDS = 5.0
"""How often a sink that has much to be told is flushed meanwhile, and its place kept."""

MOST_FAILURES = 10
"""A sink that raised so often in a row is told nothing more."""


class Feeding:
    """Tells one sink what the log says, until it is to end, or has raised too often.

    The thread is a daemon: one that hangs does not keep the process.

    Args:
        name: of the sink, as in the job.
        build: makes the sink; called in the thread, since it imports the sink's package.
        layout: of the run directory.
        report: hears of it once, where the sink has an address, and once, where it fails or is slow.
        clock: for how long a call takes.
    """

    def __init__(self, name: str, build: Callable[[], Sink], layout: RunLayout, report: Report, clock: Clock) -> None:
        self.name = name
        self._build = build
        self._layout = layout
        self._report = report
        self._clock = clock
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._reported = False
        self._failures = 0
        self._tail: Tail | None = None
        self._kept_at = 0.0
        # Since when the sink has been at one call, and how long that may take.
        self._busy: tuple[float, float] | None = None
        self.thread = threading.Thread(target=self.run, name=f"sink {name}", daemon=True)

    def end(self) -> None:
        """Tell it what there is still, then no more."""
        self._ending.set()

    def watch(self) -> None:
        """Report the sink where it has been at one call for longer than it may."""
        busy = self._busy
        if busy is not None and self._clock.monotonic() - busy[0] > busy[1]:
            self._fail(f"is slow: one call takes more than {busy[1]:g} s; it is told the rest as it gets to it")

    def left_behind(self) -> None:
        """Report how much it was not told, where the time is up."""
        lines = 0
        if self._tail is not None:
            # With a reader of its own: that one is at work in the thread.
            with contextlib.suppress(OSError):
                lines = Tail(self._layout, self._tail.places).left()
        what = (
            f"{counted(lines, 'line')} of the log {'was' if lines == 1 else 'were'} not told"
            if lines
            else "it did not come to its end"
        )
        self._fail(f"{what} within flush_seconds; a resume goes on from there", again=True)

    def run(self) -> None:
        """What the thread does."""
        sink = self._opened()
        if sink is None:
            return
        while self._failures < MOST_FAILURES:
            last = self._ending.is_set()
            if not self._round(sink) or last:
                break
            self._ending.wait(POLL_SECONDS)
        self._do(sink, sink.close)

    def _opened(self) -> Sink | None:
        kept = read_kept(self._layout.sink_place(self.name))
        try:
            # To import a package may take long, and is no sign of anything.
            sink = self._build()
            address = sink.open(kept.memory)
        except BaseException as error:  # noqa: BLE001  (a package of others may raise anything, SystemExit too)
            self._fail(f"{_told(error)}; it is left out")
            return None
        self._tail = Tail(self._layout, kept.places, again=sink.recalls)
        self._kept_at = self._clock.monotonic()
        if address is not None:
            self._report("ready", self.name, address)
        return sink

    def _round(self, sink: Sink) -> bool:
        """Tell it what is new; whether it is to be told more."""
        assert self._tail is not None
        told, failures = False, self._failures
        try:
            for event, void, again in self._tail.read():
                if event.rank:
                    # They act alike, and rank 0 speaks for all.
                    continue
                call = sink.recall if again else sink.tell
                told = True
                if not self._do(sink, call, event, void=void) and self._failures >= MOST_FAILURES:
                    break
                if sink.cannot_wait or self._clock.monotonic() - self._kept_at >= KEEP_SECONDS:
                    self._keep(sink)
        except (InputError, OSError) as error:
            self._fail(f"the log cannot be read on ({text_of(error)}); it is left out")
            return False
        if told:
            self._keep(sink)
            if self._failures == failures:
                self._failures = 0
        return True

    def _keep(self, sink: Sink) -> None:
        """Flush, and keep how far it was told: only what was flushed is behind it."""
        assert self._tail is not None
        self._kept_at = self._clock.monotonic()
        places = self._tail.places
        memory: list[Any] = []
        if self._do(sink, lambda: memory.append(sink.flush())):
            self._do(sink, write_kept, self._layout.sink_place(self.name), Kept(places, memory[0]))

    def _do(self, sink: Sink, call: Callable[..., object], *arguments: Any, **named: Any) -> bool:
        """Call the sink; whether it raised nothing."""
        self._busy = (self._clock.monotonic(), sink.patience_seconds)
        try:
            call(*arguments, **named)
        except BaseException as error:  # noqa: BLE001  (as above)
            self._failures += 1
            then = f"it is told what comes next, and is left out after {MOST_FAILURES} such in a row"
            self._fail(f"{_told(error)}; {then}")
            return False
        finally:
            self._busy = None
        return True

    def _fail(self, text: str, *, again: bool = False) -> None:
        with self._lock:
            if self._reported and not again:
                return
            self._reported = True
        self._report("failed", self.name, text)


def _told(error: BaseException) -> str:
    return text_of(error) if isinstance(error, SinkError) else f"raised {said_by(error)}"
