"""What the guard asks of the data, whether it draws the batches itself or is handed them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

__all__ = ["DataPosition"]


class DataPosition(Protocol):
    """`DataCursor` where the guard draws the batches, `OutsideData` where the caller does."""

    quarantined: frozenset[Any]
    """Indices in the data set of the samples to leave out."""
    batch_number: int
    """Batches drawn or handed over so far, over all epochs."""

    @property
    def epoch(self) -> int:
        """The epoch in progress, from 0."""
        ...

    @property
    def leaves_out(self) -> bool:
        """Whether quarantined samples are left out at all."""
        ...

    @property
    def can_go_back(self) -> bool:
        """Whether earlier batches can be had again."""
        ...

    @property
    def last_number(self) -> int | None:
        """Number of the batch that was drawn last, from 0; None where that is not known."""
        ...

    def handed(self, count: int) -> None:
        """Note that an update was begun on so many batches; a negative count takes it back."""
        ...

    def gave(self, batches: Sequence[Any]) -> bool:
        """Whether these are the very batches that the guard gave last."""
        ...

    def used(self) -> None:
        """Note that the batches given last have served an update."""
        ...

    def take_back(self) -> None:
        """Have batches come again that were given and never used."""
        ...

    def put_back(self, batches: Sequence[Any]) -> None:
        """Have these batches come again before any other."""
        ...

    def recent_indices(self, batches: Sequence[Any]) -> list[Any] | None:
        """Rows of the data set that the batches drawn last are made of; None where that is not known."""
        ...

    def ended_epoch(self) -> bool:
        """Whether the batch drawn last was the last of its epoch; the next epoch then counts as begun."""
        ...

    def position(self) -> dict[str, Any]:
        """Where the data stand."""
        ...

    def seek(self, position: Mapping[str, Any]) -> None:
        """Go to such a position. Raises InputError where the data cannot."""
        ...

    def resume(self, position: Mapping[str, Any]) -> None:
        """Go to the position of a checkpoint, as far as the data can."""
        ...
