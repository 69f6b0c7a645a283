"""SIGTERM and SIGINT, as a worker takes them."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Protocol

__all__ = ["StopRequest"]


class Stoppable(Protocol):
    """What a request to stop is passed on to."""

    def request_stop(self) -> None:
        """End after the step in progress."""
        ...


class StopRequest:
    """SIGTERM or SIGINT: the run ends after the step in progress, also one that has not begun."""

    def __init__(self) -> None:
        self._received = False
        self._receiver: Stoppable | None = None
        numbers = (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            signal.signal(number, self._receive)
        # The parent blocked them, so that none was lost while the interpreter started.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)

    def goes_to(self, receiver: Stoppable) -> None:
        """Pass the request on, at once where it came already."""
        self._receiver = receiver
        if self._received:
            receiver.request_stop()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received = True
        if self._receiver is not None:
            self._receiver.request_stop()
