"""Ctrl-C amid what must not be broken off comes when that is done."""

from __future__ import annotations

import functools
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

__all__ = ["Interrupts", "held_back"]


class Interrupts:
    """Holds SIGINT back where it is asked to, the first time; a second one comes at once.

    Only in the main thread, and only where Ctrl-C raises `KeyboardInterrupt`: a handler of the program's own stays.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._came = False
        # One object, to be recognised by.
        self._mine: Callable[[int, FrameType | None], Any] = self._receive

    def listen(self) -> None:
        """Take Ctrl-C from now on."""
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._mine)

    def leave(self) -> None:
        """Let it be what it was before `listen`; one that was held back comes now."""
        if signal.getsignal(signal.SIGINT) is self._mine:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self._depth = 1
        self.release()

    def hold(self) -> None:
        """It is held back, until `release` was called as often as this."""
        self._depth += 1

    def release(self) -> None:
        """It may come again.

        Raises:
            KeyboardInterrupt: it came meanwhile.
        """
        self._depth = max(0, self._depth - 1)
        if self._came and self._depth == 0:
            self._came = False
            raise KeyboardInterrupt

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._depth == 0 or self._came:
            self._came = False
            signal.default_int_handler(number, frame)
        self._came = True


class _Interruptible(Protocol):
    interrupts: Interrupts


_Self = TypeVar("_Self", bound=_Interruptible)
_Arguments = ParamSpec("_Arguments")
_Given = TypeVar("_Given")


def held_back(
    method: Callable[Concatenate[_Self, _Arguments], _Given],
) -> Callable[Concatenate[_Self, _Arguments], _Given]:
    """A method during which Ctrl-C is held back."""

    @functools.wraps(method)
    def holding(self: _Self, /, *arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Given:
        self.interrupts.hold()
        try:
            return method(self, *arguments, **named)
        finally:
            self.interrupts.release()

    return holding
