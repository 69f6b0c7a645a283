"""A time limit for code that nobody here has written."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator

__all__ = ["Overrun", "time_limit"]


class Overrun(BaseException):
    """Raised inside code that took longer than it was given; no `except Exception` of a user's swallows it."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `Overrun` in this thread, inside the block, when `seconds` have passed.

    It reaches Python code alone: a call that never comes back from native code is for whoever watches the process.
    Nothing is raised any more once the block was left.

    Raises:
        Overrun: as said.
    """
    watchdog = _Watchdog(threading.get_ident())
    timer = threading.Timer(seconds, watchdog.bark)
    timer.daemon = True
    timer.start()
    try:
        try:
            yield
        finally:
            watchdog.silence()
    finally:
        # Once more: the first may have been what was interrupted. By then nothing can come any more.
        watchdog.silence()
        timer.cancel()


class _Watchdog:
    """Interrupts one thread, once."""

    def __init__(self, thread: int) -> None:
        self._thread = ctypes.c_ulong(thread)
        self._lock = threading.Lock()
        self._on = True
        self._ordered = False

    def bark(self) -> None:
        with self._lock:
            if self._on:
                self._on = False
                self._ordered = True
                self._order()

    def silence(self) -> None:
        with self._lock:
            self._on = False
            ordered, self._ordered = self._ordered, False
        if ordered:
            # It may not have been raised yet. Another one takes its place, and is taken here. Calling it off with a
            # null pointer would leave CPython 3.11 looking for it for ever: under a profiler or a tracer, no function
            # could be called any more.
            with contextlib.suppress(Overrun):
                self._order()
                while True:
                    pass

    def _order(self) -> None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(self._thread, ctypes.py_object(Overrun))
