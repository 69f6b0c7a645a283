"""The rows of the data set that the batches drawn last are made of, and batches without some of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from typing import Any

from supervisor.training.bad_rows import NOTHING_LEFT
from supervisor.training.data_indices import indices_in
from supervisor.training.samples import keep_samples, sample_count

__all__ = ["RecentRows", "without_rows"]

RECENT = 1024
"""Batches whose rows are remembered: as many as an update can accumulate, within reason."""


class RecentRows:
    """Remembers the rows of the batches drawn last, where they were recorded."""

    def __init__(self) -> None:
        self._recent: deque[tuple[int, list[Any] | None]] = deque(maxlen=RECENT)

    def drawn(self, batch: Any, indices: list[Any] | None) -> None:
        """A batch was drawn from the data, of these rows; None where they are not known."""
        self._recent.append((id(batch), indices))

    def again(self, batch: Any) -> None:
        """A batch that was put back is given again."""
        # Its rows are known from when it was drawn; the newest of that identity is the one that is still there.
        rows = next((rows for known, rows in reversed(self._recent) if known == id(batch)), None)
        self._recent.append((id(batch), rows))

    def of(self, batches: Sequence[Any]) -> list[Any] | None:
        """The rows of the batches drawn last, sample by sample; None where not known."""
        found: list[Any] = []
        recent = list(self._recent)[-len(batches) :]
        if len(recent) < len(batches):
            return None
        for batch, (_, recorded) in zip(batches, recent, strict=True):
            indices = recorded or indices_in(batch)
            if indices is None or len(indices) != sample_count(batch):
                return None
            found += indices
        return found


def without_rows(batch: Any, indices: list[Any] | None, rows: Collection[Any]) -> tuple[Any, list[Any] | None]:
    """A batch without the samples of some rows, and the rows that it has left; as it is where its rows are not known.

    Where none is left, the batch is `NOTHING_LEFT`.
    """
    indices = indices or indices_in(batch)
    if indices is None or not any(index in rows for index in indices) or sample_count(batch) != len(indices):
        return batch, indices
    kept = [position for position, index in enumerate(indices) if index not in rows]
    left = [indices[position] for position in kept]
    return (keep_samples(batch, kept), left) if kept else (NOTHING_LEFT, left)
