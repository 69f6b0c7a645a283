"""Weights that were drawn at a scale with which few models train."""

from __future__ import annotations

from collections.abc import Mapping

from supervisor.records import Detail, Signal, SignalName
from supervisor.signals.nonfinite import NAMED

__all__ = ["LARGEST", "SMALLEST", "initial_scale_signal", "wrong_scales"]

SMALLEST, LARGEST = 0.02, 8.0
"""What lies outside is of a wrong scale. The usual draws give between 0.5 and 2."""


def wrong_scales(scales: Mapping[str, float]) -> dict[str, float]:
    """The scales that lie outside, the furthest first.

    Args:
        scales: standard deviation times the root of the fan-in, by the name of the weight.
    """
    outside = {name: scale for name, scale in scales.items() if not SMALLEST <= scale <= LARGEST}
    return dict(sorted(outside.items(), key=lambda each: _distance(each[1]), reverse=True))


def initial_scale_signal(scales: Mapping[str, float]) -> Signal | None:
    """`initial_scale` with the weights of a wrong scale; None where there is none.

    It never acts alone: weights that begin at zero, such as the last layer of a residual branch, are sound.
    """
    wrong = wrong_scales(scales)
    if not wrong:
        return None
    names = tuple(wrong)
    details: dict[str, Detail] = {"tensors": names[:NAMED], "tensor_count": len(names), "scale": wrong[names[0]]}
    return Signal(SignalName.INITIAL_SCALE, details)


def _distance(scale: float) -> float:
    """How many times too large or too small it is."""
    if scale > LARGEST:
        return scale / LARGEST
    return SMALLEST / scale if scale > 0 else float("inf")
