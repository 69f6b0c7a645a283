"""The losses of a run over its steps, few enough to be drawn at once."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["LossCurve", "columns_of", "heights_of", "sampled_losses"]

MOST_POINTS = 2048
"""So many are kept; beyond that every other one is left out."""

SAMPLES = 400
"""In so many places a log is looked into that is there already."""

_LINE_BYTES = 1 << 12
_LOG_SCALE = 20.0
"""From this ratio of the largest to the smallest loss on, the scale is logarithmic."""


class LossCurve:
    """Losses by their step. Going back to an earlier step drops what came after it: that was undone."""

    def __init__(self) -> None:
        self._points: list[tuple[int, float]] = []

    def add(self, step: int, loss: float) -> None:
        """Take in the loss of a step."""
        points = self._points
        while points and points[-1][0] >= step:
            points.pop()
        points.append((step, loss))
        if len(points) > MOST_POINTS:
            # The newest stays.
            del points[-2::-2]

    def back_to(self, step: int) -> None:
        """The run went back: the next step is this one."""
        while self._points and self._points[-1][0] >= step:
            self._points.pop()

    @property
    def points(self) -> tuple[tuple[int, float], ...]:
        """Step and loss, in the order of the steps."""
        return tuple(self._points)


def columns_of(points: Sequence[tuple[int, float]], width: int, steps: int) -> list[float | None]:
    """One loss for each of `width` columns over the steps from 0 up to `steps`; None where none is known.

    A column stands for the mean of its losses; one that is not finite is shown before all others. Columns between two
    known ones repeat the one before, so that few losses make a line too.
    """
    found: list[list[float]] = [[] for _ in range(width)]
    for step, loss in points:
        found[min(width - 1, step * width // max(steps, 1))].append(loss)
    columns: list[float | None] = []
    last = max((index for index, losses in enumerate(found) if losses), default=-1)
    for index, losses in enumerate(found):
        odd = next((loss for loss in losses if not math.isfinite(loss)), None)
        if losses:
            columns.append(math.fsum(losses) / len(losses) if odd is None else odd)
        elif index < last and columns and columns[-1] is not None:
            columns.append(columns[-1])
        else:
            columns.append(None)
    return columns


def heights_of(columns: Sequence[float | None], levels: int) -> list[int | None]:
    """Each column as a height from 0 to `levels - 1`; -1 for what is not finite, None for what is not known."""
    finite = [value for value in columns if value is not None and math.isfinite(value)]
    if not finite:
        return [None if value is None else -1 for value in columns]
    low, high = min(finite), max(finite)
    logarithmic = low > 0 and high / low > _LOG_SCALE

    def scaled(value: float) -> float:
        return math.log(value) if logarithmic else value

    bottom, top = scaled(low), scaled(high)
    room = top - bottom

    def height(value: float | None) -> int | None:
        if value is None:
            return None
        if not math.isfinite(value):
            return -1
        share = (scaled(value) - bottom) / room if 0 < room < math.inf else 0.0
        return min(levels - 1, int(share * levels))

    return [height(value) for value in columns]


def sampled_losses(log: Path, samples: int = SAMPLES) -> Iterator[tuple[int, float]]:
    """Step and loss of some of the `step` lines of a log, spread evenly over the file; none where it cannot be read.

    A long log is looked into in a few hundred places, so that a million lines take no longer than a thousand.
    """
    try:
        descriptor = os.open(log, os.O_RDONLY)
    except OSError:
        return
    try:
        size = os.fstat(descriptor).st_size
        seen = -1
        for number in range(samples):
            place = size * number // samples
            text = os.pread(descriptor, _LINE_BYTES, place)
            line = re.search(rb'\{"schema"[^\n]*"event":"step"[^\n]*\n', text)
            if line is not None and (at := place + line.start()) > seen and (point := _point(line[0])) is not None:
                seen = at
                yield point
    except OSError:
        return
    finally:
        os.close(descriptor)


def _point(line: bytes) -> tuple[int, float] | None:
    try:
        told = json.loads(line)
        return int(told["step"]), float(told["loss"])
    except (ValueError, TypeError, KeyError):
        return None
