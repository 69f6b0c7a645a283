"""The lower end of a terminal, where the view stands, and the lines above it that stay."""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import sys
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from supervisor.display import fitting
from supervisor.events.safe_console import SafeConsole, console_on_stdout

__all__ = ["Screen", "shows_a_view", "view_fits"]

DEFAULT_SIZE = (80, 24)
MOST_LINES = 500
"""So many lines go to the terminal at once."""

WRITE_SECONDS = 0.2
"""How long one look at a terminal that takes nothing lasts, before it is looked at again."""

_COLOURS = re.compile(r"\x1b\[[\d;:]*m")
_BEGIN, _END = "\x1b[?2026h\x1b[?25l", "\x1b[?25h\x1b[?2026l"
"""A frame is shown whole by a terminal that knows this; the cursor is hidden for the time of a frame alone, so that
whatever ends this process leaves a terminal with a cursor."""


class Screen:
    """Draws on a terminal, in frames of one write each.

    The cursor is left at the start of the row below the view, where a shell's prompt may follow at any time.

    Args:
        descriptor: the terminal.
        encoding: what it is written in.
    """

    def __init__(self, descriptor: int, encoding: str) -> None:
        self._descriptor = descriptor
        self._encoding = encoding
        # The columns that each row of the view takes, as it stands there.
        self._view: list[int] = []
        self._drawn: tuple[list[str], int] = ([], self.size[0])
        self._rows_printed = 0

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows of the terminal, as it is now."""
        with contextlib.suppress(OSError):
            columns, rows = os.get_terminal_size(self._descriptor)
            if columns > 0 and rows > 0:
                return columns, rows
        return DEFAULT_SIZE

    @property
    def rows_printed(self) -> int:
        """How many rows were printed above the view so far."""
        return self._rows_printed

    @property
    def in_background(self) -> bool:
        """Whether a shell has the terminal for another job at the moment."""
        try:
            return os.tcgetpgrp(self._descriptor) != os.getpgrp()
        except OSError:
            # Not this process's own terminal: no shell takes it away.
            return False

    def styled(self, line: Text) -> str:
        """A line as the terminal is told it."""
        return self._rendered(self._console(max(self.size[0], line.cell_len + 1)), line)

    def draw(self, lines: Sequence[str], view: Sequence[Text]) -> None:
        """Print lines, and the view below them in the place of the one before.

        Args:
            lines: safe for a terminal; any width.
            view: rows, each narrower than the terminal.

        Raises:
            OSError: the terminal is gone.
        """
        width, _ = self.size
        last = max(0, len(lines) - 1) // MOST_LINES * MOST_LINES
        for begun in range(0, last, MOST_LINES):
            self._frame(lines[begun : begun + MOST_LINES], [], width)
        self._frame(lines[last:], view, width)

    def forget(self) -> None:
        """Leave the view where it stands: something else was written below it, and the next one comes after that."""
        self._view, self._drawn = [], ([], 0)

    def whole(self) -> None:
        """Show the cursor, wherever a frame was broken off; not where the terminal takes nothing just now."""
        with contextlib.suppress(OSError):
            if not self.in_background and select.select([], [self._descriptor], [], 0)[1]:
                self._write(_END)

    def _frame(self, lines: Sequence[str], view: Sequence[Text], width: int) -> None:
        console = self._console(width)
        rendered = [self._rendered(console, row) for row in view]
        if not lines and (rendered, width) == self._drawn:
            # A terminal that is just about to change its size is told as little as possible meanwhile.
            return
        # A terminal that has become narrower has broken rows that are too wide for it.
        up = sum(max(1, -(-columns // width)) for columns in self._view)
        parts = [_BEGIN, "\r", f"\x1b[{up}A" if up else ""]
        if lines or len(view) != len(self._view) or up != len(self._view):
            parts.append("\x1b[J")
        for line in lines:
            parts.append(f"{fitting(line, self._encoding)}\r\n")
            self._rows_printed += max(1, -(-cell_len(_COLOURS.sub("", line)) // width))
        parts += [f"{row}\x1b[K\r\n" for row in rendered]
        self._view, self._drawn = [row.cell_len for row in view], (rendered, width)
        self._write("".join([*parts, _END]))

    def _console(self, width: int) -> Console:
        return SafeConsole(file=io.StringIO(), force_terminal=True, width=width, highlight=False, legacy_windows=False)

    def _rendered(self, console: Console, line: Text) -> str:
        with console.capture() as captured:
            console.print(line, soft_wrap=True, end="")
        return fitting(captured.get(), self._encoding)

    def _write(self, text: str) -> None:
        data = memoryview(text.encode(self._encoding, "backslashreplace"))
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                # Somebody has set it so: it is waited for here.
                select.select([], [self._descriptor], [], WRITE_SECONDS)


def view_fits(rows: int) -> int:
    """How many rows of a terminal of so many a view may take: one is the cursor's, and lines are to be seen above."""
    return max(0, min(rows - 1, max(6, rows // 2)))


def shows_a_view() -> bool:
    """Whether the standard output is a terminal on which rows can be drawn anew."""
    try:
        there = os.isatty(sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return there and console_on_stdout().is_interactive
