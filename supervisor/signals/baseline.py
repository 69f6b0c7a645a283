"""What a window of healthy values says of the next one: where it should lie, and which would be too large."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, Self

__all__ = ["MAD_TO_SIGMA", "Baseline", "median_of_sorted"]

MAD_TO_SIGMA = 1.4826
"""Scales the median absolute deviation to the standard deviation of a normal distribution."""

LARGEST_EXPONENT = 700.0
"""`math.exp` of much more than this overflows."""


class Baseline(NamedTuple):
    """A robust line through a window, and the spread around it.

    Values that are all above zero are judged by their natural logarithm, since losses and norms vary by factors. If one
    of them is not, all are judged as they are, with a least spread that is relative to the largest magnitude. In both
    cases the score stays the same when window and value are multiplied by the same number. The line goes through the
    medians of the older and of the newer half, as Tukey's resistant line does with thirds.

    Attributes:
        logarithmic: whether the numbers below are of logarithms.
        level: where the line stands at the newest value, or, where it rises, will stand when it is drawn anew.
        spread: 1.4826 times the median absolute deviation from the line, or the least spread if that is more.
        largest: the largest value of the newest quarter where the line falls, or, if that is more, the value furthest
            above the line; never a logarithm.
        magnitude: the largest absolute value.
    """

    logarithmic: bool
    level: float
    spread: float
    largest: float
    magnitude: float

    @classmethod
    def of(
        cls, window: Collection[float], *, quiet: float, ahead: int = 0, logs: Iterable[float] | None = None
    ) -> Self:
        """The baseline of a window of at least two finite values, oldest first.

        Args:
            window: the values.
            quiet: the least spread, in natural-log units, or relative to the largest magnitude.
            ahead: how many values it will be used for; a rising line is continued by so many.
            logs: the natural logarithms of the values, where the caller has them; not read unless all are positive.
        """
        largest, least = max(window), min(window)
        magnitude = max(largest, -least)
        logarithmic = least > 0
        values = list((logs or map(math.log, window)) if logarithmic else window)
        half, newest = len(values) // 2, len(values) - 1
        newer = median_of_sorted(sorted(values[-half:]))
        slope = (newer - median_of_sorted(sorted(values[:half]))) / (newest + 1 - half)
        line = slope * -newest
        residuals = sorted([value - line - slope * age for age, value in enumerate(values)])
        level, highest = median_of_sorted(residuals), residuals[-1]
        # The deviations of sorted residuals fall and then rise: two runs, which Python merges in linear time.
        deviations = sorted([abs(residual - level) for residual in residuals])
        least_spread = quiet if logarithmic else quiet * magnitude
        spread = max(MAD_TO_SIGMA * median_of_sorted(deviations), least_spread)
        if slope > 0:
            rise = slope * ahead
            level, highest = level + rise, highest + rise
        else:
            # If the fall has ended, the line points too low: the newest quarter bounds it from below.
            newest_part = sorted(values[-max(half // 2, 1) :])
            level = max(level, median_of_sorted(newest_part))
            highest = max(highest, newest_part[-1])
        largest = math.exp(min(highest, LARGEST_EXPONENT)) if logarithmic else highest
        return cls(logarithmic, level, spread, largest, magnitude)

    @property
    def typical(self) -> float:
        """The value that was to be expected."""
        return math.exp(min(self.level, LARGEST_EXPONENT)) if self.logarithmic else self.level

    def score(self, value: float) -> float:
        """How many spreads the value lies above the line."""
        if self.spread == 0:
            return math.inf if value > self.level else 0.0
        return ((math.log(value) if self.logarithmic else value) - self.level) / self.spread

    def limit(self, threshold: float, margin: float) -> float:
        """The largest value that is not a spike.

        Args:
            threshold: how many spreads above the line.
            margin: how many times the largest value; of the magnitude above it, where values reach below zero.
        """
        if self.magnitude == 0:
            # All values were exactly zero, so that there is no scale to judge by.
            return math.inf
        edge = self.level + threshold * self.spread
        if self.logarithmic:
            return max(math.exp(min(edge, LARGEST_EXPONENT)), margin * self.largest)
        return max(edge, self.largest + (margin - 1) * self.magnitude)


def median_of_sorted(values: Sequence[float]) -> float:
    """The median of values in ascending order."""
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2
