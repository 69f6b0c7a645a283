"""When a fault strikes: at a batch, or by a seeded rate that leaves every random generator as it is."""

from __future__ import annotations

import hashlib
from typing import Annotated, Self

from pydantic import Field, model_validator

from supervisor.config.section import Section, conflict

__all__ = ["BatchNumber", "Scheduled", "Spanning"]

BatchNumber = Annotated[int, Field(strict=True, ge=0, le=10**12)]
LONGEST_BY_RATE = 1000
"""Batches in a row of a fault that is drawn: each batch has to look back over so many draws."""


class Scheduled(Section):
    """A fault with a time: `at_batch`, or `rate`."""

    at_batch: BatchNumber | None = None
    """The batch it strikes at, counted from 0 over all epochs; it does not strike again after a reload."""
    rate: Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)] | None = None
    """Instead of `at_batch`: the probability that it strikes at any one batch, drawn afresh for each."""
    from_batch: BatchNumber = 0
    """With `rate`: the first batch it may strike at."""
    seed: Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)] = 0
    """With `rate`: another seed draws other batches."""

    @model_validator(mode="after")
    def _has_one_time(self) -> Self:
        if self.at_batch is None and self.rate is None:
            key, other = ("rate", "at_batch") if "rate" in self.model_fields_set else ("at_batch", "rate")
            raise conflict(f"is missing, and so is {other}", "write `at_batch: 100`", key)
        if self.at_batch is not None and self.rate is not None:
            raise conflict("stands beside at_batch", "write one of the two", "rate")
        stray = [key for key in ("from_batch", "seed") if key in self.model_fields_set and self.rate is None]
        if stray:
            raise conflict("says nothing without rate", "write `rate: 0.01`, or remove it", stray[0])
        return self

    def begins_at(self, index: int, number: int) -> bool:
        """Whether it strikes at a batch.

        The draw is a hash of the seed, the fault's index in its script and the batch number: it touches no random
        generator, and a resumed run draws the same.

        Args:
            index: the fault's index in its script, from 0.
            number: batch number, from 0 over all epochs.
        """
        if self.rate is None:
            return number == self.at_batch
        if number < self.from_batch:
            return False
        digest = hashlib.blake2b(f"{self.seed}:{index}:{number}".encode(), digest_size=8).digest()
        return int.from_bytes(digest) < self.rate * 2.0**64


class Spanning(Scheduled):
    """A fault of several batches in a row."""

    batches: Annotated[int, Field(strict=True, ge=1, le=10**9)] = 1
    """How many batches in a row."""

    @model_validator(mode="after")
    def _short_where_drawn(self) -> Self:
        if self.rate is not None and self.batches > LONGEST_BY_RATE:
            fix = f"write `batches: {LONGEST_BY_RATE}` or less beside a rate"
            raise conflict(f"{self.batches} is too large", fix, "batches")
        return self

    def covers(self, index: int, number: int) -> bool:
        """Whether a batch is one of those in a row; the arguments are those of `begins_at`."""
        if self.at_batch is not None:
            return self.at_batch <= number < self.at_batch + self.batches
        return any(self.begins_at(index, first) for first in range(max(0, number - self.batches + 1), number + 1))
