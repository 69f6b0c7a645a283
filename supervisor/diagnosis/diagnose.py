"""One diagnosis within its bounds; whatever happens in it, the run is afterwards what it was."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from supervisor.clock import Clock
from supervisor.diagnosis.attribution import Attribution
from supervisor.diagnosis.replay import Replays
from supervisor.errors import text_of
from supervisor.records import Cause, Observation
from supervisor.training.state import Subject
from supervisor.update import Attempt, Executor

__all__ = ["Bounds", "Diagnosis", "Overrun", "diagnose", "time_limit"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a diagnosis may cost: how often the step may be run again, and wall time in seconds."""

    replays: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What came of looking into one flagged update.

    Attributes:
        cause: the cause, None where none was found.
        failure: why the diagnosis failed, None where it did not.
        replays: how often the step was run again.
        brief: what takes long was skipped.
    """

    cause: Cause | None
    failure: str | None = None
    replays: int = 0
    brief: bool = False


def diagnose(
    attempt: Attempt,
    subject: Subject,
    executor: Executor,
    is_healthy: Callable[[Observation], bool],
    *,
    bounds: Bounds,
    batch_number: int | None,
    clock: Clock,
    finite_before: bool | None = None,
    brief: bool = False,
    known_good: Callable[[], Sequence[Any] | None] | None = None,
) -> Diagnosis:
    """Find the cause of a flagged update by running it again.

    A failure (the user's code raises where it did not before, memory runs out) and an end of the time are no errors:
    they are said in the result.

    Args:
        attempt: the update, discarded where it could be.
        subject: the training objects.
        executor: runs forward, backward and the measurement.
        is_healthy: whether an observation would not have been flagged.
        bounds: what it may cost.
        batch_number: number of its last batch, None where the caller draws the batches.
        clock: for the duration.
        finite_before: whether the state was checked after the step before and was finite; None: not known.
        brief: skip what takes long: of the rows from the samples on, try these alone, in about the time of three steps.
        known_good: gives batches of an earlier update that was healthy, None where there are none.
    """
    started = clock.monotonic()
    replays = Replays(subject, executor, attempt.before, attempt.scaler_before, attempt.place, most=bounds.replays)
    attribution = Attribution(attempt, batch_number, replays, is_healthy, finite_before, brief, known_good)
    cause, failure = None, None
    try:
        # Outside of the time limit, so that nothing can interrupt the way back.
        with replays.undone(), time_limit(bounds.seconds):
            cause = attribution.cause()
    except Overrun:
        failure = f"it took longer than its {bounds.seconds:g} s"
    except Exception as error:  # noqa: BLE001  (hooks and replays run code that nobody here has written)
        failure = text_of(error) or type(error).__name__
    if cause is not None:
        cause = replace(cause, replays=replays.done, seconds=clock.monotonic() - started)
    return Diagnosis(cause, failure, replays.done, brief)


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
