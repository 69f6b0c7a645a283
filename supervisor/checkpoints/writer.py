"""Work on checkpoints done beside the training: the training thread pays for the copy alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

__all__ = ["BackgroundWriter"]


class BackgroundWriter:
    """Does one piece of work after the other in a thread of its own, and reports each in the caller's thread."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._begun: deque[tuple[Future[Any], Callable[[Future[Any]], None]]] = deque()

    def begin(self, work: Callable[[], Any], then: Callable[[Future[Any]], None]) -> None:
        """Begin `work`; `then` is called by a later `settle`, with its result or what it raised."""
        self._begun.append((self._thread.submit(work), then))

    def settle(self, *, wait: bool = False) -> None:
        """Report what is done, in order; with `wait`, wait until all of it is, what a report begins included."""
        while self._begun and (wait or self._begun[0][0].done()):
            future, then = self._begun.popleft()
            future.exception()
            then(future)
