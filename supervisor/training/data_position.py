"""Where the data stand: what the guard asks of them, answered for data that the caller draws."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from supervisor.errors import InputError
from supervisor.training.trainer import Stateful
from supervisor.training.tree import clone

__all__ = ["DataPosition"]


class DataPosition:
    """The position in data that the caller draws: a count of batches. `DataCursor` is that of data the guard draws.

    Args:
        position: tells and takes back where the caller's data stand (`state_dict`, `load_state_dict`); None where they
            cannot go back.

    Attributes:
        batch_number: batches drawn or handed over so far, over all epochs.
        epoch: the epoch in progress, from 0; where the caller draws he alone knows it, and it stays 0.
        quarantined: indices in the data set of the samples to leave out.
        leaves_out: whether they are left out at all, which only a cursor does.
    """

    leaves_out = False

    def __init__(self, position: Stateful | None = None) -> None:
        self.batch_number = 0
        self.epoch = 0
        self.quarantined: frozenset[Any] = frozenset()
        self._position = position

    @property
    def can_go_back(self) -> bool:
        """Whether earlier batches can be had again."""
        return self._position is not None

    @property
    def last_number(self) -> int | None:
        """Number of the batch that was drawn last, from 0; None where that is not known."""
        return None

    def handed(self, batches: Sequence[Any]) -> bool:
        """An update is begun on these batches.

        Returns:
            Whether they are the very batches that the guard gave last, so that they can come again.
        """
        self.batch_number += len(batches)
        return False

    def taken_from(self, batches: Sequence[Any]) -> None:
        """The update was given up, as if it had never begun."""
        self.batch_number -= len(batches)

    def used(self) -> None:
        """The batches given last have served an update, whether it was applied or discarded."""

    def take_back(self) -> None:
        """Have the batches come again that were given and never used."""

    def put_back(self, batches: Sequence[Any]) -> None:
        """Have these batches come again, in this order, before any other."""

    def recent_indices(self, batches: Sequence[Any]) -> list[Any] | None:
        """Rows of the data set that the batches drawn last are made of, sample by sample; None where not known.

        Args:
            batches: as they were drawn.
        """
        return None

    def ended_epoch(self) -> bool:
        """Whether the batch drawn last was the last of its epoch; the next epoch then counts as begun."""
        return False

    def undisturbed(self) -> contextlib.AbstractContextManager[object]:
        """A block in which somebody else may read the data, and after which the next batch is the one it was."""
        return contextlib.nullcontext()

    def position(self) -> dict[str, Any]:
        """Where the data stand, as tensors and plain values."""
        state = None if self._position is None else clone(self._position.state_dict())
        return {"batch_number": self.batch_number, "outside": state, "pending": []}

    def seek(self, position: Mapping[str, Any]) -> None:
        """Go to a position that `position` gave.

        Raises:
            InputError: the data cannot: an iterator, or the position is of data that the guard drew.
        """
        if "outside" not in position:
            raise InputError("data: the state is of a run whose batches the guard drew: give the guard `data` again")
        self.batch_number = position["batch_number"]
        if self._position is not None and position["outside"] is not None:
            self._position.load_state_dict(clone(position["outside"]))

    def resume(self, position: Mapping[str, Any]) -> None:
        """Go to the position of a checkpoint; one of data that the guard drew tells the number of batches alone."""
        self.batch_number = position.get("batch_number", 0)
        if "outside" in position:
            self.seek(position)
