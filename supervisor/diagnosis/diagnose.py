"""One diagnosis within its bounds; whatever happens in it, the run is afterwards what it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from supervisor.clock import Clock
from supervisor.diagnosis.attribution import Attribution
from supervisor.diagnosis.flagged import FlaggedUpdate
from supervisor.diagnosis.replay import Observe, Replays
from supervisor.diagnosis.watchdog import Overrun, time_limit
from supervisor.records import Cause, Observation
from supervisor.training.state import Subject, VolatileState

__all__ = ["Diagnosis", "diagnose"]


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
    flagged: FlaggedUpdate,
    subject: Subject,
    before: VolatileState,
    scaler: Any,
    observe: Observe,
    is_healthy: Callable[[Observation], bool],
    *,
    most_replays: int,
    most_seconds: float,
    clock: Clock,
) -> Diagnosis:
    """Find the cause of a flagged update by running it again.

    A failure (the user's code raises where it did not before, memory runs out) and an end of the time are no errors:
    they are said in the result.

    Args:
        flagged: the update.
        subject: the training objects, the update discarded from them where it could be.
        before: the state before the update beside parameters and optimizer.
        scaler: `state_dict` of the gradient scaler before it, None without one.
        observe: runs forward, backward and the measurement.
        is_healthy: whether an observation would not have been flagged.
        most_replays: how often the step may be run again.
        most_seconds: wall time it may take.
        clock: for the duration.
    """
    started = clock.monotonic()
    replays = Replays(subject, before, scaler, observe, most=most_replays)
    attribution = Attribution(flagged, subject.model, replays, is_healthy)
    cause, failure = None, None
    try:
        # Outside of the time limit, so that nothing can interrupt the way back.
        with replays.undone(), time_limit(most_seconds):
            cause = attribution.cause()
    except Overrun:
        failure = f"it took longer than its {most_seconds:g} s"
    except Exception as error:  # noqa: BLE001  (hooks and replays run code that nobody here has written)
        failure = str(error) or type(error).__name__
    if cause is not None:
        cause = replace(cause, replays=replays.done, seconds=clock.monotonic() - started)
    return Diagnosis(cause, failure, replays.done)
