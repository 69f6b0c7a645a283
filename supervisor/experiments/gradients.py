"""Gradients that are bad for batches that were healthy, too: canaries, asked for their losses, say nothing of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from supervisor.evidence import Blame, Evidence
from supervisor.experiments.canaries import Canary
from supervisor.experiments.examining import Examining
from supervisor.experiments.suspicion import bad_batch
from supervisor.records import Cause, SignalName
from supervisor.update import Attempt

__all__ = ["are_bad_for_all", "blame_of_gradients"]

OF_GRADIENTS = frozenset({SignalName.NONFINITE_GRADIENT, SignalName.GRADIENT_OVERFLOW, SignalName.GRADIENT_SPIKE})
"""Findings that losses say nothing of."""


def are_bad_for_all(examining: Examining, attempt: Attempt, cause: Cause | None, canaries: Sequence[Canary]) -> bool:
    """Whether a batch that was healthy would be flagged as well, where only gradients were what was found.

    Args:
        examining: tries canaries.
        attempt: the update; everything is as it was before it.
        cause: what the diagnosis found, which may have run an earlier batch already.
        canaries: the last healthy batches, whose losses are as they were.
    """
    if not attempt.signals or any(each.name not in OF_GRADIENTS for each in attempt.signals):
        return False
    # Under a gradient scaler an overflow says nothing of the state: it looks for its scale.
    if examining.tools.subject.loss_scale is not None:
        return False
    if cause is not None and cause.earlier_batch_healthy is not None:
        return not cause.earlier_batch_healthy
    return bool(canaries) and examining.is_flagged_backward(attempt, canaries[-1]) is True


def blame_of_gradients(examining: Examining, attempt: Attempt, *, finite: bool) -> Evidence:
    """Who is to blame for gradients that are bad for all batches.

    What is wrong with one update alone, whatever its batch, as by a hook, passes: only where the next one has them too
    is it the state. A state that the run has just gone back to is sound: where they are bad from there as well, going
    back once more helps nothing. If they are finite, they are so large from now on.
    """
    why = "the gradients of a batch that was healthy are not so any more"
    if not examining.just_went_back:
        again = examining.bad_gradients_at == attempt.place.update - 1
        examining.bad_gradients_at = attempt.place.update
        if again:
            return Evidence(Blame.STATE, f"{why}, at two updates in a row", finite=finite)
        return Evidence(Blame.UNKNOWN, f"{why}: it passes, or the next update has them too", finite=finite)
    why += ", nor are they in a state that the run went back to"
    if not finite:
        return Evidence(Blame.CODE, f"{why}: the program is at fault")
    examining.begin_anew()
    accepted = examining.tell_shift(attempt, 1)
    evidence = bad_batch(attempt, examining.tools.data, f"{why}: they are as large for all from now on")
    return replace(evidence, finite=True, shifted=not accepted)
