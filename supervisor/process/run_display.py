"""The live view of a run on the terminal of the process that supervises it, on a thread of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

from rich.console import Group

from supervisor.clock import Clock
from supervisor.display import in_one_line
from supervisor.errors import InputError, said_by
from supervisor.events.safe_console import console_on_stdout
from supervisor.live.output import OutputLines
from supervisor.live.picture import Picture
from supervisor.live.screen import Screen, shows_a_view
from supervisor.live.view import LiveView
from supervisor.process.worker_terminal import WorkerTerminal, hold_signals_back
from supervisor.report.tables import render_summary
from supervisor.run_layout import RunLayout

__all__ = ["RunDisplay", "display_on_terminal"]

LOOK_SECONDS = 0.25
"""Time between two looks at the run."""

LEAST_SECONDS = 0.05
"""Time between two frames, whatever comes."""

CLOSE_SECONDS = 5.0
"""How long the last frame may take: a terminal that stands still does not keep the run."""

MOST_FAILURES = 5
"""So often in a row the log may be unreadable."""

MOST_WAITING = 32_000_000
"""So many characters of output wait for a terminal that is too slow; what is older is left out."""

T = TypeVar("T")


class RunDisplay:
    """Shows a run while the block is executed. Nothing of it reaches the training, whatever becomes of the terminal.

    Args:
        layout: of the run directory.
        shown: the run directory as the user typed it.
        clock: says what time it is.
        stopping: whether the run was asked to stop.

    Raises:
        OSError: there is no pseudo-terminal for the workers.
    """

    def __init__(self, layout: RunLayout, shown: str, clock: Clock, stopping: Callable[[], bool]) -> None:
        self._shown = shown
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        self._screen = Screen(sys.stdout.fileno(), encoding)
        self._view = LiveView(layout, shown, self._screen, encoding, clock, stopping)
        self._output = OutputLines(encoding)
        self._waiting: deque[str] = deque()
        self._characters = self._left_out = 0
        self._lock = threading.Lock()
        self._awake = threading.Event()
        self._closing = self._fresh = False
        self._failed: Counter[str] = Counter()
        self._terminal = WorkerTerminal(self._screen.size, self._take_in)
        # Where stderr goes elsewhere, it goes there from the workers too.
        self._both = _same_terminal()
        self._thread = threading.Thread(target=self._run, name="display", daemon=True)

    @property
    def worker_streams(self) -> tuple[int, int | None]:
        """What a worker's standard output and error are; None: its error goes where this process's goes."""
        return self._terminal.worker_end, self._terminal.worker_end if self._both else None

    def worker_gone(self) -> None:
        """What a worker has written before its end is told before anything else is."""
        self._terminal.drain()
        with self._lock:
            self._add(self._output.end())

    def continued(self) -> None:
        """The process was stopped and goes on: a shell has written below the view since. Safe in a signal handler."""
        # No lock may be taken here: the main thread may hold it.
        self._fresh = True

    def stop(self, number: int) -> None:
        """Stop this process as a signal does by default (Ctrl-Z), and return once it goes on; the workers do not stop.

        For the handler of that signal in the main thread, which has to be put in place again.
        """
        signal.signal(number, signal.SIG_DFL)
        with self._terminal.read_by_another():
            os.kill(os.getpid(), number)

    def __enter__(self) -> Self:
        with contextlib.suppress(Exception):
            self._view.pass_over()
        self._streams = contextlib.ExitStack()
        self._streams.enter_context(contextlib.redirect_stdout(_Above(self, sys.stdout)))
        if self._both:
            self._streams.enter_context(contextlib.redirect_stderr(_Above(self, sys.stderr)))
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.worker_gone()
        self._closing = True
        self._awake.set()
        self._thread.join(CLOSE_SECONDS)
        self._streams.close()
        self._screen.whole()
        self._terminal.__exit__()

    def say(self, text: str) -> None:
        """Print lines above the view."""
        with self._lock:
            self._add(text.split("\n"))

    def _take_in(self, data: bytes) -> None:
        with self._lock:
            self._add(self._output.feed(data))
        self._awake.set()

    def _add(self, lines: list[str]) -> None:
        for line in lines:
            self._waiting.append(line)
            self._characters += len(line)
        while self._characters > MOST_WAITING:
            self._characters -= len(self._waiting.popleft())
            self._left_out += 1
        self._awake.set()

    def _taken(self) -> tuple[list[str], str]:
        """The lines that wait, and the one that has not ended."""
        with self._lock:
            lines = [*self._waiting]
            if self._left_out:
                lines.insert(0, f"({self._left_out} lines of output left out: the terminal was too slow)")
            self._waiting.clear()
            self._characters = self._left_out = 0
            return lines, self._output.unfinished

    def _run(self) -> None:
        hold_signals_back()
        while not self._closing:
            self._frame()
            self._awake.wait(LOOK_SECONDS)
            self._awake.clear()
            if not self._closing:
                # Many lines in a row are one frame.
                time.sleep(LEAST_SECONDS)
        self._view.end()
        self._frame(last=True)

    def _frame(self, *, last: bool = False) -> None:
        """One look and one frame."""
        self._terminal.resize(self._screen.size)
        lines, unfinished = self._taken()
        told, picture = self._tried("view", self._view.look) or ([], None)
        begun = self._view.folded.fold.begun
        self._draw(lines + told, picture if begun or not last else None, unfinished)
        if last and begun:
            self._screen.forget()
            self._draw(self._tried("summary", self._summary) or [], None, "")

    def _draw(self, lines: list[str], picture: Picture | None, unfinished: str) -> None:
        if self._fresh:
            self._fresh = False
            self._screen.forget()
        rows = self._tried("view", lambda: self._view.rows(picture, unfinished)) or []
        self._tried("terminal", lambda: self._screen.draw(lines, rows))

    def _summary(self) -> list[str]:
        summary = self._view.folded.fold.summary
        if summary is None:
            return []
        console = console_on_stdout(width=self._screen.size[0], force_terminal=True)
        with console.capture() as captured:
            console.print(Group(render_summary(summary, Path(self._shown))))
        return ["", *captured.get().splitlines()]

    def _tried(self, part: str, work: Callable[[], T]) -> T | None:
        """What a part of the display gives; one that raises is said once, and left out from then on."""
        if self._failed[part] > MOST_FAILURES:
            return None
        try:
            found = work()
        except OSError:
            # The terminal is gone, or takes nothing for a moment.
            return None
        except Exception as error:  # noqa: BLE001  (whatever a display raises is nothing to the training)
            # A file that is replaced just now cannot be read for a moment.
            self._failed[part] += 1 if isinstance(error, InputError) else MOST_FAILURES
            if self._failed[part] >= MOST_FAILURES:
                self._failed[part] += 1
                self.say(f"supervisor: the {part} is left out: {in_one_line(said_by(error))}")
            return None
        self._failed[part] = 0
        return found


class _Above:
    """A text stream whose lines are printed above the view.

    Args:
        display: prints them.
        stream: the one that it stands in for.
    """

    def __init__(self, display: RunDisplay, stream: object) -> None:
        self._display = display
        self._stream = stream
        self._line = ""

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._display.say(line)
        return len(text)

    def flush(self) -> None:
        """Nothing waits but a line that has not ended."""

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def display_on_terminal(layout: RunLayout, shown: str, clock: Clock, stopping: Callable[[], bool]) -> RunDisplay | None:
    """The display of a run; None where there is no terminal that it could be on, and lines are told instead."""
    if not shows_a_view():
        return None
    try:
        return RunDisplay(layout, shown, clock, stopping)
    except (OSError, ValueError, LookupError):
        return None


def _same_terminal() -> bool:
    try:
        return os.isatty(sys.stderr.fileno()) and os.path.samestat(
            os.fstat(sys.stderr.fileno()), os.fstat(sys.stdout.fileno())
        )
    except (OSError, ValueError, AttributeError):
        return False
