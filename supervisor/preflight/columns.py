"""Which rows lie far outside of their column, judged in one pass, in bounded memory, without a scale of the user's.

A column is one number that every row has, as it comes in a tensor [rows, columns]. Its centre is its median, and the
distance of a row is measured in medians of all distances (MAD). How far is too far depends on the column's own tail:
the 98th percentile of the distances tells how heavy it is. With `tail` the logarithm of that percentile, in MADs, a row
is outside beyond exp(4 · tail) MADs. For bell-shaped data that is 95 standard deviations; a column with a long tail has
a limit that lies far beyond that tail. No row was reported of 20,000 with 16 columns each that were normal, uniform,
exponential, lognormal (sigma 1 and 2), of Student's distribution (2 and 3 degrees of freedom), constant, one-hot,
sparse or counts, and one in 40,000 of Cauchy's, which has no mean; a row of normal ones times 1000 always was
(`tests/unit/preflight/test_columns.py` holds the smaller ones of these).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Column", "Outlier", "TensorColumns", "column_of"]

TAIL_SHARE = 0.98
"""Share of the distances up to which they tell how heavy the tail is: 2 % of bad rows do not hide themselves."""
TAIL_POWER = 4.0
"""How many times as far out as that, on a logarithmic scale, a value is outside."""
LIGHTEST_TAIL = math.log(2.326 / 0.6745)
"""The tail of a normal column; one that is lighter (uniform, two values) is judged by it, too."""
LEAST_VALUES = 50
"""Distances that a column must have, other than zero where most are, to be judged at all."""
ROUNDING = 1e-6
"""A spread of less than this share of the median is rounding, and says nothing about the data."""
MOST_OUTSIDE = 0.02
"""More rows than this share outside are how the data are, and none of them is reported."""
FEW = 3
"""So many rows may be outside in any case."""
MOST_COLUMNS = 256
"""A row of more numbers than that, or of more than one dimension (an image, a sequence), counts as one column."""
SAMPLED = 64
"""How many numbers of such a row are looked at to know the column; all are looked at to judge the row."""
KEPT_ROWS = 2048
"""Rows that are remembered to know the columns by: a sample of all that came."""
FIRST_ROWS = 512
"""Rows after which a first look is taken, so that not all rows have to be remembered to be judged at the end."""
MOST_CANDIDATES = 4096
"""Rows that can be waiting for the judgement."""


@dataclass(frozen=True, slots=True)
class Column:
    """What is known of one column.

    Attributes:
        median: its centre.
        spread: the median distance from that, of the rows that have another value where most have the same.
        tail: the logarithm of the 98th percentile of the distances, in spreads.
    """

    median: float
    spread: float
    tail: float

    def limit(self, power: float = TAIL_POWER) -> float:
        """The distance from the median beyond which a value is outside."""
        return self.spread * math.exp(min(power * self.tail, 700.0))


@dataclass(frozen=True, slots=True)
class Outlier:
    """A value far outside of its column.

    Attributes:
        row: its row, as it was given.
        column: number of the column; None where the whole tensor is one.
        value: the value.
        known: the column.
    """

    row: Hashable
    column: int | None
    value: float
    known: Column


def column_of(values: Tensor) -> Column | None:
    """What a sample of a column's values tells of it; None where that is too little to judge anything.

    Args:
        values: finite float64 [n].
    """
    if len(values) < LEAST_VALUES:
        return None
    median = float(values.median())
    distances = (values - median).abs()
    rounding = ROUNDING * abs(median)
    spread = float(distances.median())
    if spread <= rounding:
        # Most rows have the same value (a sparse column, a rare class): the others are compared with each other.
        distances = distances[distances > rounding]
        if len(distances) < LEAST_VALUES:
            return None
        spread = float(distances.median())
    ordered = distances.sort().values
    tail = float(ordered[int(TAIL_SHARE * (len(ordered) - 1))]) / spread
    return Column(median, spread, max(math.log(tail), LIGHTEST_TAIL))


class TensorColumns:
    """The columns of one tensor of the batches, and the rows that may be outside.

    Which rows are remembered is drawn from a generator of its own; the global ones are left alone.
    """

    def __init__(self) -> None:
        self._generator = torch.Generator().manual_seed(0)
        self._seen = self._width = 0
        self._whole = self._too_many = False
        self._sample: Tensor | None = None
        self._waiting: list[tuple[Tensor, Sequence[Hashable]]] = []
        self._candidates: list[tuple[Hashable, Tensor]] = []
        self._first: list[Column | None] | None = None

    def add(self, rows: Tensor, names: Sequence[Hashable]) -> None:
        """Take up some rows, whose values are all finite.

        Args:
            rows: floating-point [n, ...], of the same shape behind the first dimension each time.
            names: what each row is called in an `Outlier`.
        """
        if rows.numel() == 0:
            return
        flat = rows.detach().reshape(len(rows), -1)
        self._whole = rows.dim() > 2 or flat.shape[1] > MOST_COLUMNS
        if self._whole:
            at = torch.randint(flat.shape[1], (SAMPLED,), generator=self._generator)
            self._remember(flat[:, at].to("cpu", torch.float64))
            # Made small before it is made exact: an image may have millions of numbers.
            flat = torch.stack([flat.amin(1), flat.amax(1)], 1).to("cpu", torch.float64)
        else:
            flat = flat.to("cpu", torch.float64)
            self._remember(flat)
        self._width = flat.shape[1]
        self._waiting.append((flat, names))
        if self._first is not None or self._seen >= FIRST_ROWS:
            self._first = self._first or self._columns()
            self._sift(self._first, TAIL_POWER / 2)

    def outliers(self) -> tuple[list[Outlier], int]:
        """The rows outside, and how many there are: where these are too many to be accidents, none is named."""
        if self._sample is None:
            return [], 0
        columns = self._columns()
        self._sift(columns, TAIL_POWER / 2)
        found = [each for row, values in self._candidates if (each := self._judged(row, values, columns)) is not None]
        if self._too_many or len(found) > max(FEW, MOST_OUTSIDE * self._seen):
            return [], len(found)
        return found, len(found)

    def _remember(self, rows: Tensor) -> None:
        """Reservoir sampling: every row so far is remembered with the same probability."""
        if self._sample is None:
            self._sample = rows.new_empty((0, rows.shape[1]))
        room = min(len(rows), KEPT_ROWS - len(self._sample))
        if room > 0:
            self._sample = torch.cat([self._sample, rows[:room]])
        for position in range(max(room, 0), len(rows)):
            place = int(torch.randint(self._seen + position + 1, (), generator=self._generator))
            if place < KEPT_ROWS:
                self._sample[place] = rows[position]
        self._seen += len(rows)

    def _columns(self) -> list[Column | None]:
        sample = self._sample
        if sample is None:
            return []
        if self._whole:
            return [column_of(sample.flatten())] * self._width
        return [column_of(sample[:, number]) for number in range(self._width)]

    def _sift(self, columns: list[Column | None], power: float) -> None:
        """Keep of the rows that wait those that may be outside."""
        medians = torch.tensor([0.0 if each is None else each.median for each in columns], dtype=torch.float64)
        limits = [math.inf if each is None else each.limit(power) for each in columns]
        bounds = torch.tensor(limits, dtype=torch.float64)
        for rows, names in self._waiting:
            for position in ((rows - medians).abs() > bounds).any(1).nonzero().flatten().tolist():
                if len(self._candidates) == MOST_CANDIDATES:
                    self._too_many = True
                    break
                self._candidates.append((names[position], rows[position].clone()))
        self._waiting.clear()

    def _judged(self, row: Hashable, values: Tensor, columns: list[Column | None]) -> Outlier | None:
        found: Outlier | None = None
        farthest = 1.0
        for number, (value, known) in enumerate(zip(values.tolist(), columns, strict=True)):
            if known is not None and (ratio := abs(value - known.median) / known.limit()) > farthest:
                farthest = ratio
                found = Outlier(row, None if self._whole else number, value, known)
        return found
