"""A terminal for tests: a real pseudo-terminal, and what a person sees on it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pytest

__all__ = ["Terminal"]

HISTORY = 10_000
QUIET_SECONDS = 0.05
PATIENCE_SECONDS = 400.0


class Terminal:
    """A screen of so many columns and rows, behind a pseudo-terminal.

    Attributes:
        descriptor: what a program writes to.
        written: all bytes that were written to it.
    """

    def __init__(self, columns: int = 100, rows: int = 30) -> None:
        pyte = pytest.importorskip("pyte")
        self._master, self.descriptor = os.openpty()
        self._screen: Any = pyte.HistoryScreen(columns, rows, history=HISTORY, ratio=0.5)
        self._stream: Any = pyte.ByteStream(self._screen)
        self.written = b""
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int) -> None:
        """Another size, as by a window that is dragged."""
        self._take()
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._screen.resize(rows, columns)

    @property
    def rows(self) -> list[str]:
        """What stands on the screen now, without the empty rows at its end."""
        self._take()
        rows = [row.rstrip() for row in self._screen.display]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    @property
    def all_rows(self) -> list[str]:
        """The same, with what has been pushed out at its top."""
        self._take()
        above = [
            "".join(line[column].data for column in range(self._screen.columns)).rstrip()
            for line in self._screen.history.top
        ]
        return above + self.rows

    @property
    def cursor(self) -> tuple[int, int, bool]:
        """Its row and column, and whether it is shown."""
        self._take()
        return self._screen.cursor.y, self._screen.cursor.x, not self._screen.cursor.hidden

    def press(self, keys: bytes) -> None:
        """As a person at the keyboard."""
        os.write(self._master, keys)

    def start(self, command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a program in a session of its own that has this terminal."""

        def take_the_terminal() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        return subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(env),
            stdin=self.descriptor,
            stdout=self.descriptor,
            stderr=self.descriptor,
            start_new_session=True,
            preexec_fn=take_the_terminal,
        )

    def until(self, seen: Callable[[list[str]], object], process: subprocess.Popen[bytes] | None = None) -> list[str]:
        """Wait until something is seen on the screen, and give what is."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not seen(rows := self.rows):
            gone = process is not None and process.poll() is not None
            rows = self.rows
            assert not gone or seen(rows), "\n".join(["it ended before that was seen:", *self.all_rows])
            assert time.monotonic() < deadline, "\n".join(["this is all that was seen:", *self.all_rows])
        return rows

    def ended(self, process: subprocess.Popen[bytes]) -> int:
        """The exit code of a program, whose output is read until its end."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while process.poll() is None:
            self._take()
            assert time.monotonic() < deadline, "\n".join(["it does not end:", *self.all_rows])
        self._take()
        return process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for descriptor in (self._master, self.descriptor):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _take(self) -> None:
        while select.select([self._master], [], [], QUIET_SECONDS)[0]:
            try:
                data = os.read(self._master, 1 << 16)
            except OSError:
                return
            self.written += data
            self._stream.feed(data)
