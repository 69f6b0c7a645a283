"""Fewer points for a long curve, and none of those that matter left out."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

__all__ = ["MOST_POINTS", "RULE", "Gap", "gaps", "medians", "thinned"]

MOST_POINTS = 4000
"""How many points of a curve are drawn, beside those that are always drawn."""

RULE = (
    "A curve of more points is cut into stretches of as many points each. Of each stretch the smallest and the largest "
    "value are drawn, as a pale line; the stronger line is the median of each of 400 stretches. The first and the last "
    "point, both sides of each gap, and the points around each incident are always drawn. Values that are not finite "
    "are never left out: each has a mark, or is counted in one."
)
"""The rule, for the reader of a page."""


def thinned(values: Sequence[float], always: Collection[int] = (), most: int = MOST_POINTS) -> list[int]:
    """Which of the values to draw: indices in order.

    Args:
        values: a curve; not finite where it has a gap.
        always: indices that are kept whatever they are, as those of incidents.
        most: how many are kept beside these, the ends, and the sides of gaps, where one value stands for a whole gap.
    """
    count = len(values)
    if count <= most:
        return [*range(count)]
    kept = {0, count - 1, *(index for index in always if 0 <= index < count)}
    stretches = max(1, most // 2)
    for stretch in range(stretches):
        start, stop = stretch * count // stretches, (stretch + 1) * count // stretches
        finite = [index for index in range(start, stop) if math.isfinite(values[index])]
        if finite:
            kept.add(min(finite, key=values.__getitem__))
            kept.add(max(finite, key=values.__getitem__))
    for gap in gaps(values):
        # Its sides, so that the line breaks where it broke, and the first of it, which breaks it.
        kept.update((max(0, gap.first - 1), gap.first, min(count - 1, gap.last + 1)))
    return sorted(kept)


def medians(values: Sequence[float], stretches: int = 400) -> list[tuple[int, float]]:
    """The course of a curve that is too dense to be seen: of each stretch its middle and the median of what is finite.

    Args:
        values: a curve.
        stretches: how many.
    """
    count = len(values)
    stretches = min(stretches, count)
    found = []
    for stretch in range(stretches):
        start, stop = stretch * count // stretches, (stretch + 1) * count // stretches
        finite = sorted(value for value in values[start:stop] if math.isfinite(value))
        found.append(((start + stop - 1) // 2, finite[len(finite) // 2] if finite else math.nan))
    return found


@dataclass(frozen=True, slots=True)
class Gap:
    """Values in a row, or so near to each other that one mark stands for them, that are not finite.

    Attributes:
        first: index of the first.
        last: index of the last.
        count: how many of those from the first to the last are not finite.
        words: what they are: `nan`, `inf`, `-inf`, each once.
    """

    first: int
    last: int
    count: int
    words: tuple[str, ...]


def gaps(values: Sequence[float], most: int = MOST_POINTS // 4) -> list[Gap]:
    """Every value that is not finite, in gaps.

    Args:
        values: a curve.
        most: of more gaps than this, those that are near to each other are told as one; no value is left uncounted.
    """
    found: list[Gap] = []
    for index, value in enumerate(values):
        if not math.isfinite(value):
            here = Gap(index, index, 1, (_word(value),))
            found = _with(found, here, nearest=1)
    nearest = 1
    while len(found) > most:
        nearest *= 2
        merged: list[Gap] = []
        for gap in found:
            merged = _with(merged, gap, nearest)
        found = merged
    return found


def _with(found: list[Gap], gap: Gap, nearest: int) -> list[Gap]:
    if found and gap.first - found[-1].last <= nearest:
        before = found.pop()
        words = tuple(dict.fromkeys((*before.words, *gap.words)))
        gap = Gap(before.first, gap.last, before.count + gap.count, words)
    found.append(gap)
    return found


def _word(value: float) -> str:
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
