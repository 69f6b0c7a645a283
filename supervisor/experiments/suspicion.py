"""What a suspicion is called, and how strong it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from supervisor.evidence import Blame, Evidence
from supervisor.experiments.harm import Harm
from supervisor.records import Observation, Signal, SignalName
from supervisor.signals import Detectors
from supervisor.training.data_position import DataPosition
from supervisor.update import Attempt

__all__ = [
    "EXTREMES",
    "as_finding",
    "bad_batch",
    "damaged",
    "high_rate",
    "is_explained",
    "is_explained_by",
    "is_far_off",
]

EXTREMES = frozenset({SignalName.LOSS_SPIKE, SignalName.GRADIENT_SPIKE})
"""What an extreme loss and an extreme gradient norm are called."""

AS_IN_THE_BEGINNING = 3.0
"""How many times the first losses the loss of an update may be that is like one of the beginning."""

FAR_SCORE, FAR_RATIO = 8.0, 10.0
"""An odd update is far off where it scores more than the one, or is more than the other times the typical value."""


def bad_batch(attempt: Attempt, data: DataPosition, why: str) -> Evidence:
    """The evidence that the data are at fault."""
    bad = max(1, len(attempt.at_fault)) if len(attempt.batches) > 1 else 1
    batch = data.last_number if attempt.drawn else None
    return Evidence(Blame.DATA, why, batches=bad, repeatable=attempt.drawn, batch=batch)


def damaged(said: Harm, when: str, *, finite: bool) -> Evidence:
    """The evidence that the state is at fault.

    Args:
        said: what canaries say.
        when: of which state, with a blank before it; empty for the one before the update.
        finite: whether all numbers of the update are finite.
    """
    return Evidence(Blame.STATE, f"batches that were healthy are not any more{when}: {said}", finite=finite)


def high_rate(found: Sequence[Signal]) -> str | None:
    """What its learning rate is, where that is odd about an update; None where it is not."""
    details = next((each.details for each in found if "lr" in each.details), None)
    if details is None:
        return None
    return f"the learning rate is {details['lr']:.3g}, and was at most {details['highest_lr']:.3g} before"


def is_explained(seen: Observation, detectors: Detectors) -> bool:
    """Whether an extreme gradient has a reason: a loss that is odd too, and no worse than in the beginning."""
    levels = detectors.levels
    odd = any("loss" in each.details for each in (*detectors.suspect(seen), *detectors.inspect(seen)))
    return odd and levels is not None and levels.positive and seen.loss <= AS_IN_THE_BEGINNING * levels.began


def is_explained_by(said: Harm, seen: Observation, detectors: Detectors) -> bool:
    """Whether the loss of an update is no higher than canaries have it that risen with it: its batch is as any other.

    Args:
        said: what canaries say of the state that the update began from, or left.
        seen: the update.
        detectors: what is usual.
    """
    levels = detectors.levels
    if levels is None or not said.risen or not math.isfinite(said.now):
        return False
    ratios = levels.positive and said.before > 0
    loss = seen.loss * said.before / said.now if ratios else seen.loss - said.rise
    return not any("loss" in each.details for each in detectors.suspect(replace(seen, loss=loss)))


def is_far_off(signal: Signal) -> bool:
    """Whether a suspicion is so strong that a trial may be owed for."""
    details = signal.details
    score, median = details.get("score"), details.get("median")
    if not isinstance(score, float) or not isinstance(median, float):
        return True
    value = details["loss"] if "loss" in details else details.get("grad_norm")
    return score > FAR_SCORE or (isinstance(value, float) and 0 < FAR_RATIO * median < value)


def as_finding(found: Sequence[Signal]) -> Signal:
    """What an odd update is called once it has proved to be harmful."""
    first = found[0]
    if first.name is not SignalName.ODD_UPDATE:
        return first
    if "lr" in first.details:
        # What it does to the state, its own batch being ordinary.
        return replace(first, name=SignalName.DIVERGENCE)
    return replace(first, name=SignalName.LOSS_SPIKE if "loss" in first.details else SignalName.GRADIENT_SPIKE)
