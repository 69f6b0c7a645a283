"""Batches that the data set raised for while an experiment drew ahead: told of when the training has got there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from supervisor.training.bad_rows import NOTHING_LEFT, BadSamples, ReadAgain
from supervisor.training.loader_errors import DataFault, LoaderError

__all__ = ["UntoldRows"]

MOST_IN_A_ROW = 8
"""So many batches of which nothing is left end an experiment: it is not for it to read through data that are gone."""


class UntoldRows:
    """Keeps what the data set raised until there is somebody to answer it."""

    def __init__(self) -> None:
        self._untold: deque[BadSamples] = deque()

    @property
    def rows(self) -> frozenset[Any]:
        """Indices of the rows that are at fault."""
        return frozenset(row for bad in self._untold for row in bad.again.rows)

    def draw(self, next_batch: Callable[[], Any]) -> tuple[Any, list[Any] | None]:
        """A batch without the rows that raise.

        Args:
            next_batch: gives the next one, or raises `BadSamples`.

        Returns:
            The batch, and its rows where some were left out; None where it is as `next_batch` gave it.

        Raises:
            BadSamples: of several batches in a row nothing was left. They are told of all the same.
        """
        for _ in range(MOST_IN_A_ROW):
            try:
                return next_batch(), None
            except BadSamples as bad:
                last, left, rows = bad, bad.again.batch, bad.again.kept
            self._keep(last)
            if left is not NOTHING_LEFT:
                return left, rows or []
        raise last

    def tell(self) -> None:
        """Raise the oldest, once."""
        if self._untold:
            raise self._untold.popleft()

    def state_dict(self) -> list[dict[str, Any]]:
        """What is still to be told, as plain values: without what was left of the batches, which comes by itself."""
        return [
            {
                "told": {**asdict(bad.told), "fault": bad.told.fault.value},
                "rows": list(bad.again.rows),
                "bad": list(bad.again.bad),
                "all_raise": bad.again.all_raise,
                "taken": bad.again.taken,
                "number": bad.number,
            }
            for bad in self._untold
        ]

    def load_state_dict(self, untold: Sequence[Mapping[str, Any]]) -> None:
        """Take back what `state_dict` gave."""
        self._untold = deque(map(_of_plain, untold))

    def _keep(self, bad: BadSamples) -> None:
        again = replace(bad.again, batch=NOTHING_LEFT, kept=None, taken=bad.again.batch is not NOTHING_LEFT)
        self._untold.append(BadSamples(bad.told, bad.error, again, bad.number))


def _of_plain(plain: Mapping[str, Any]) -> BadSamples:
    told = LoaderError(**{**plain["told"], "fault": DataFault(plain["told"]["fault"])})
    again = ReadAgain(
        bad=tuple(plain["bad"]), rows=tuple(plain["rows"]), all_raise=plain["all_raise"], taken=plain["taken"]
    )
    # What was raised is gone with its process; its text stands for it.
    return BadSamples(told, RuntimeError(told.message), again, plain["number"])
