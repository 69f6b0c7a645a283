"""The position in data that the caller draws: a count of the batches handed over, and what he tells of his loader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from supervisor.errors import InputError
from supervisor.training.trainer import Stateful
from supervisor.training.tree import clone

__all__ = ["OutsideData"]


class OutsideData:
    """Stands where a `DataCursor` stands when the guard draws the batches itself.

    Args:
        position: tells and takes back where the caller's data stand (`state_dict`, `load_state_dict`); None where they
            cannot go back.

    Attributes:
        batch_number: batches handed over so far.
        epoch: always 0: the caller alone knows.
        last_number: None, likewise.
        quarantined: samples to leave out; they are not, since the caller draws.
        leaves_out: False, likewise.
    """

    epoch = 0
    last_number: int | None = None
    leaves_out = False

    def __init__(self, position: Stateful | None = None) -> None:
        self.batch_number = 0
        self.quarantined: frozenset[Any] = frozenset()
        self._position = position

    @property
    def can_go_back(self) -> bool:
        """Whether earlier batches can be had again."""
        return self._position is not None

    def handed(self, count: int) -> None:
        """Count batches as they are handed over; a negative count takes it back."""
        self.batch_number += count

    def gave(self, batches: Sequence[Any]) -> bool:
        """False: they are the caller's."""
        return False

    def used(self) -> None:
        """Nothing: the caller has them."""

    def take_back(self) -> None:
        """Likewise."""

    def put_back(self, batches: Sequence[Any]) -> None:
        """Likewise."""

    def recent_indices(self, batches: Sequence[Any]) -> list[Any] | None:
        """None: nobody told."""
        return None

    def ended_epoch(self) -> bool:
        """False: the caller alone knows."""
        return False

    def position(self) -> dict[str, Any]:
        """Where the data stand."""
        state = None if self._position is None else clone(self._position.state_dict())
        return {"batch_number": self.batch_number, "outside": state, "pending": []}

    def seek(self, position: Mapping[str, Any]) -> None:
        """Go to a position that `position` gave.

        Raises:
            InputError: the position is of data that the guard drew.
        """
        if "outside" not in position:
            raise InputError("data: the state is of a run whose batches the guard drew: give the guard `data` again")
        self.batch_number = position["batch_number"]
        if self._position is not None and position["outside"] is not None:
            self._position.load_state_dict(clone(position["outside"]))

    def resume(self, position: Mapping[str, Any]) -> None:
        """Go to the position of a checkpoint; one of data that were drawn otherwise says nothing here."""
        if "outside" in position:
            self.seek(position)
