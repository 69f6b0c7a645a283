"""One diagnosis within its bounds; whatever happens in it, the run is afterwards what it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from supervisor.clock import Clock
from supervisor.diagnosis.attribution import Attribution
from supervisor.diagnosis.replay import Replays
from supervisor.diagnosis.watchdog import Overrun, time_limit
from supervisor.records import Cause, Observation
from supervisor.training.state import Subject
from supervisor.update import Attempt, Executor

__all__ = ["Bounds", "Diagnosis", "diagnose"]


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
    """

    cause: Cause | None
    failure: str | None = None
    replays: int = 0


def diagnose(
    attempt: Attempt,
    subject: Subject,
    executor: Executor,
    is_healthy: Callable[[Observation], bool],
    *,
    bounds: Bounds,
    batch_number: int | None,
    clock: Clock,
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
    """
    started = clock.monotonic()
    replays = Replays(subject, executor, attempt.before, attempt.scaler_before, attempt.place, most=bounds.replays)
    attribution = Attribution(attempt, batch_number, subject.model, replays, is_healthy)
    cause, failure = None, None
    try:
        # Outside of the time limit, so that nothing can interrupt the way back.
        with replays.undone(), time_limit(bounds.seconds):
            cause = attribution.cause()
    except Overrun:
        failure = f"it took longer than its {bounds.seconds:g} s"
    except Exception as error:  # noqa: BLE001  (hooks and replays run code that nobody here has written)
        failure = str(error) or type(error).__name__
    if cause is not None:
        cause = replace(cause, replays=replays.done, seconds=clock.monotonic() - started)
    return Diagnosis(cause, failure, replays.done)
