"""What a suspicion is called, and how strong it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from supervisor.evidence import Blame, Evidence
from supervisor.experiments.harm import Harm
from supervisor.records import Signal, SignalName

__all__ = ["as_finding", "damaged", "is_far_off"]

FAR_SCORE, FAR_RATIO = 8.0, 10.0
"""An odd update is far off where it scores more than the one, or is more than the other times the typical value."""


def damaged(said: Harm, when: str, *, finite: bool) -> Evidence:
    """The evidence that the state is at fault.

    Args:
        said: what canaries say.
        when: of which state, with a blank before it; empty for the one before the update.
        finite: whether all numbers of the update are finite.
    """
    return Evidence(Blame.STATE, f"batches that were healthy are not any more{when}: {said}", finite=finite)


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
    return replace(first, name=SignalName.LOSS_SPIKE if "loss" in first.details else SignalName.GRADIENT_SPIKE)
