"""Whether canaries say that a state was damaged: their losses now against those that they had."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from supervisor.policy import Experiments
from supervisor.signals.odd import LossLevels

__all__ = ["Harm", "harm"]

FLOOR = 0.02
"""Added to both losses before they are divided, as a share of the usual loss: a canary learnt by heart may double."""

SEVERE = 0.1
"""The share of what was learnt so far by which canaries rise where the state is damaged for good."""

LOST = 0.25
"""The share of what was learnt so far that is harm whatever the ratio: where much of a loss cannot be learnt away, as
that of a language model, a model that has lost everything has no larger a multiple of it."""

LEAST_SPREADS = 2.0
"""How many spreads of the recent losses the median has to rise."""


@dataclass(frozen=True, slots=True)
class Harm:
    """What canaries say.

    Attributes:
        harmed: whether the state was damaged.
        before: median of the losses that they had.
        now: median of those that they have; NaN where one is not finite.
        severe: whether so much was lost that training does not make up for it by itself soon. Healthy runs that have
            learnt nearly all lose a little now and then, and find it again.
        canaries: how many were tried.
        risen: whether their median rose at all, by more than `least_harm` of what was learnt: a healthy batch that was
            just learnt from has a lower loss than it had.
    """

    harmed: bool
    before: float
    now: float
    severe: bool = False
    canaries: int = 0
    risen: bool = False

    @property
    def rise(self) -> float:
        """By how much their median rose; NaN where one is not finite."""
        return self.now - self.before

    def __str__(self) -> str:
        what = "its loss" if self.canaries == 1 else "their median loss"
        return f"{what} is {self.now:.4g}, and was {self.before:.4g}"


def harm(before: Sequence[float], now: Sequence[float], levels: LossLevels, settings: Experiments) -> Harm:
    """Judge the canaries, one loss each.

    They are harmed where one is not finite any more, or where both the median of the ratios is above `harm_factor` and
    their median has risen by more than two spreads of the recent losses and more than `least_harm` of what was learnt.
    A rise of a quarter of what was learnt needs no ratio. Neither do losses that reach zero or below, where ratios mean
    nothing: their rise has to be `suspect_score` spreads.
    """
    was, tried = statistics.median(before), len(before)
    if not all(map(math.isfinite, now)):
        return Harm(True, was, math.nan, severe=True, canaries=tried, risen=True)
    is_now = statistics.median(now)
    rise = is_now - was
    if rise <= settings.least_harm * levels.learnt:
        return Harm(False, was, is_now, canaries=tried)
    severe = rise > SEVERE * levels.learnt
    if not levels.positive or min(*before, *now) <= 0:
        return Harm(rise > settings.suspect_score * levels.spread, was, is_now, severe, tried, risen=True)
    beyond = rise > LEAST_SPREADS * levels.spread
    if beyond and rise > LOST * levels.learnt > LOST * levels.spread:
        return Harm(True, was, is_now, severe, tried, risen=True)
    floor = FLOOR * levels.median
    ratio = statistics.median(math.log((a + floor) / (b + floor)) for b, a in zip(before, now, strict=True))
    return Harm(beyond and ratio > math.log(settings.harm_factor), was, is_now, severe, tried, risen=True)
