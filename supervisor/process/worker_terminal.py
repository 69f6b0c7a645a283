"""A terminal of the workers' own, whose output the parent reads all the time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import struct
import termios
import threading
from collections.abc import Callable, Iterator
from typing import IO, Self

from supervisor.errors import said_by
from supervisor.events.stderr import say
from supervisor.process.output_keeper import output_kept

__all__ = ["WorkerTerminal", "hold_signals_back"]

DRAIN_SECONDS = 2.0
"""How long the end of what a dead worker has written is waited for."""

LOCK_SECONDS = 1.0
"""How long the reading thread may take to let go of the terminal."""

_BLOCK_BYTES = 1 << 16
_END, _LOOK = b"e", b"l"
"""What the reading thread is told: to end, and to look again."""


class WorkerTerminal:
    """A pseudo-terminal that workers have as their standard output and error.

    A thread reads it, whatever becomes of the display: a worker never waits for somebody to read what it prints. It is
    no worker's controlling terminal, so that it sends them no signals.

    Args:
        size: columns and rows.
        told: called in that thread with what was written, in order; what it raises is said once, and it is not called
            again.

    Raises:
        OSError: there is none to be had.

    Attributes:
        worker_end: what the workers write to.
    """

    def __init__(self, size: tuple[int, int], told: Callable[[bytes], object]) -> None:
        self._master, self.worker_end = os.openpty()
        self._told: Callable[[bytes], object] | None = told
        self._awaited = b""
        self._last = b""
        self._marks = 0
        self._drained = threading.Event()
        # Held while the terminal is read; and what was read of it by somebody else, which comes next.
        self._reading = threading.Lock()
        self._kept: list[IO[bytes]] = []
        self._ending, self._end = os.pipe()
        _pass_bytes_on(self.worker_end)
        self.resize(size)
        self._thread = threading.Thread(target=self._read, name="worker-output", daemon=True)
        self._thread.start()

    def resize(self, size: tuple[int, int]) -> None:
        """Tell whoever asks the terminal for its size, in columns and rows."""
        columns, rows = size
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def drain(self) -> None:
        """Wait until all is read that was written before this call.

        What still writes, a process that was left behind, is not waited for.
        """
        if not self._thread.is_alive():
            return
        self._marks += 1
        # An operating system command, of which nobody shows anything.
        mark = f"\x1b]supervisor {os.getpid()} {self._marks}\x07".encode()
        self._drained.clear()
        self._awaited = mark
        with contextlib.suppress(OSError):
            if select.select([], [self.worker_end], [], DRAIN_SECONDS)[1]:
                os.write(self.worker_end, mark)
                self._drained.wait(DRAIN_SECONDS)

    @contextlib.contextmanager
    def read_by_another(self) -> Iterator[None]:
        """This process is stopped in the block: another one reads meanwhile, or the workers would soon wait for this.

        For a handler of signals in the main thread. Where there is no other process to be had, nobody reads.
        """
        if not self._reading.acquire(timeout=LOCK_SECONDS):
            yield
            return
        try:
            with contextlib.ExitStack() as block:
                with contextlib.suppress(OSError):
                    self._kept.append(block.enter_context(output_kept(self._master)))
                yield
        finally:
            self._reading.release()
            with contextlib.suppress(OSError):
                os.write(self._end, _LOOK)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.write(self._end, _END)
        self._thread.join(DRAIN_SECONDS)
        for descriptor in (self._master, self.worker_end, self._end, self._ending):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _read(self) -> None:
        hold_signals_back()
        while True:
            try:
                ready, _, _ = select.select([self._master, self._ending], [], [])
                if self._master not in ready and _END in os.read(self._ending, len(_END)):
                    return
                while data := self._next():
                    self._take(data)
            except OSError:
                return

    def _next(self) -> bytes:
        """What comes next; nothing where somebody else has read it."""
        with self._reading:
            while self._kept:
                if data := self._kept[0].read(_BLOCK_BYTES):
                    return data
                self._kept.pop(0).close()
            if select.select([self._master], [], [], 0)[0]:
                return os.read(self._master, _BLOCK_BYTES)
        return b""

    def _take(self, data: bytes) -> None:
        self._tell(data)
        mark = self._awaited
        if mark:
            # It may come in two pieces.
            text = self._last + data
            self._last = text[-len(mark) :]
            if mark in text:
                self._awaited = self._last = b""
                self._drained.set()

    def _tell(self, data: bytes) -> None:
        if self._told is None:
            return
        try:
            self._told(data)
        except Exception as error:  # noqa: BLE001  (what a worker writes is read on, whatever becomes of it)
            self._told = None
            say(f"what the trainer prints is left out: {said_by(error)}")


def hold_signals_back() -> None:
    """Leave all signals to the main thread.

    It also lets this thread write to a terminal that a shell has for another job at the moment, which would stop the
    process otherwise (`stty tostop`).
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def _pass_bytes_on(terminal: int) -> None:
    """What is written is read as it is: no carriage returns are put in."""
    with contextlib.suppress(termios.error):
        mode = termios.tcgetattr(terminal)
        mode[1] &= ~termios.OPOST
        termios.tcsetattr(terminal, termios.TCSANOW, mode)
