"""Where the data stand: what the guard asks of them, answered for data that the caller draws."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from supervisor.errors import InputError
from supervisor.training.trainer import Stateful
from supervisor.training.tree import clone, comes_back

__all__ = ["DataPosition", "Told", "writable"]

Told = Callable[[Any, list[Any] | None], object]
"""Is given a batch as it was drawn, and the rows that it is made of where they are known."""


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
        once_alone: whether what was drawn never comes again: an iterator that cannot go back.
        warn: hears what is odd about the data.
    """

    leaves_out = False
    once_alone = False

    def __init__(self, position: Stateful | None = None) -> None:
        self.batch_number = 0
        self.epoch = 0
        self.quarantined: frozenset[Any] = frozenset()
        self._position = position
        self._told: Told | None = None
        self.warn: Callable[[str], object] = _unheard

    def tell_of_next(self, told: Told) -> None:
        """Tell of the next batch from the data, once, unless they are sent elsewhere before.

        Batches that the caller draws are told of only where he gives their position: else nobody expects them again.
        """
        if self._position is not None:
            self._told = told

    def why_not_again(self, *, same_rows: bool = False) -> str:
        """What keeps the data from coming again, and the mend.

        Args:
            same_rows: the same rows of the data set come again, with other values.
        """
        return "`position` does not lead back to it: have its state_dict hold all that the order hangs on"

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
        self._tell(batches[0] if batches else None, None)
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
        self._told = None
        self.batch_number = position["batch_number"]
        if self._position is not None and position["outside"] is not None:
            self._position.load_state_dict(clone(position["outside"]))

    def resume(self, position: Mapping[str, Any]) -> None:
        """Go to the position of a checkpoint; one of data that the guard drew tells the number of batches alone."""
        self.batch_number = position.get("batch_number", 0)
        if "outside" in position:
            self.seek(position)

    def _warn_once(self, message: str | None) -> None:
        if message is not None:
            warn, self.warn = self.warn, _unheard
            warn(message)

    def _tell(self, batch: Any, indices: list[Any] | None) -> None:
        if self._told is not None:
            told, self._told = self._told, None
            told(batch, indices)


def _unheard(message: str) -> None:
    """Nobody listens, or enough was said."""


def writable(position: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """A position as a checkpoint can give it back, and how many of the batches put back had to be left out.

    A batch is left out when it holds something else than tensors and plain values, or lies on several devices.
    """
    # Copied, since a slice would be written together with the whole tensor that it is taken from.
    kept = [clone(entry) for entry in position["pending"] if comes_back(entry[0]) and len(entry[1]) <= 1]
    return {**position, "pending": kept}, len(position["pending"]) - len(kept)
