"""A batch that the data set raised for is read again, row by row: which rows are at fault, and what is left of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from supervisor.training.end_of_data import END, draw
from supervisor.training.loader_errors import DataFault, LoaderError, fault_of, is_dead_loader
from supervisor.training.noted_reading import rows_of
from supervisor.training.rng import preserved_rng
from supervisor.training.row_names import row_name, row_names

__all__ = ["NOTHING_LEFT", "BadSamples", "ReadAgain", "read_again", "read_past"]

NOTHING_LEFT = object()
"""Stands for a batch of which no row is left."""


@dataclass(frozen=True, slots=True)
class ReadAgain:
    """What reading a batch again has found.

    Attributes:
        batch: what is left of it, `NOTHING_LEFT` where that is nothing, or cannot be made.
        kept: indices of the rows in it; None where they are not known.
        bad: positions, in the batch as it was to be, of the rows that raise by themselves, or do not fit the others.
        rows: their indices in the data set; none where one has no name in a record.
        all_raise: whether every row raises, so that none of them is likely to be at fault.
        explained: whether rows that are left out already are all that is at fault.
        taken: whether what is left of it was drawn for an experiment, and comes by itself.
    """

    batch: Any = NOTHING_LEFT
    kept: list[Any] | None = None
    bad: tuple[int, ...] = ()
    rows: tuple[Any, ...] = ()
    all_raise: bool = False
    explained: bool = False
    taken: bool = False


class BadSamples(Exception):
    """The data set has raised for a batch, and the loader goes on with the next.

    Args:
        told: what was raised, and where.
        error: the exception, as it came from the loader.
        again: what reading the batch again has found.
        number: of the batch, from 0, where that is known.

    Attributes:
        before: the batches of the same update that were drawn before it.
    """

    def __init__(self, told: LoaderError, error: Exception, again: ReadAgain, number: int | None = None) -> None:
        super().__init__(told.message)
        self.told = told
        self.error = error
        self.again = again
        self.number = number
        self.before: tuple[Any, ...] = ()


def read_again(loader: Any, indices: Sequence[Any] | None, left_out: Collection[Any]) -> ReadAgain:
    """Read the rows of a batch one by one, in this process. The random generators are put back.

    Args:
        loader: a loader over a data set of rows.
        indices: of the rows, as the sampler gave them; None where they are not known: nothing can be found then.
        left_out: indices of rows that are left out already; they are not asked for.
    """
    if indices is None or not callable(getattr(loader, "collate_fn", None)):
        return ReadAgain()
    dataset = rows_of(loader.dataset)
    asked = [position for position, index in enumerate(indices) if row_name(index) not in left_out]
    items: dict[int, Any] = {}
    with preserved_rng():
        for position in asked:
            try:
                items[position] = _row(dataset, indices[position])
            except Exception as error:
                # Whatever the data set raises speaks against the row, but a process that dies speaks against none.
                if is_dead_loader(error):
                    raise
        bad = [position for position in asked if position not in items]
        batch = _collated(loader, items)
        if batch is NOTHING_LEFT and not bad:
            bad = _misfits(loader, items)
            items = {position: item for position, item in items.items() if position not in bad}
            batch = _collated(loader, items) if bad else batch
    kept = row_names(indices[position] for position in items)
    rows = tuple(row_names(indices[position] for position in bad) or ())
    all_raise = bool(asked) and len(bad) == len(asked)
    explained = not bad and len(asked) < len(indices) and (batch is not NOTHING_LEFT or not asked)
    return ReadAgain(batch, kept, tuple(bad), rows, all_raise, explained)


def read_past(iterator: Iterator[Any]) -> bool:
    """Read a batch that is not wanted; False where there is none. One that the data set raises for is one too."""
    try:
        return draw(iterator) is not END
    except Exception as error:
        if fault_of(error, iterator) is not DataFault.BAD_SAMPLE:
            raise
    return True


def _row(dataset: Any, index: Any) -> Any:
    several = getattr(dataset, "__getitems__", None)
    return several([index])[0] if several else dataset[index]


def _collated(loader: Any, items: Mapping[int, Any]) -> Any:
    if not items:
        return NOTHING_LEFT
    try:
        return loader.collate_fn(list(items.values()))
    except Exception:  # noqa: BLE001  (rows that do not fit each other, or a function of the user's)
        return NOTHING_LEFT


def _misfits(loader: Any, items: Mapping[int, Any]) -> list[int]:
    """The one row without which the others fit each other; none where several are such, or none is."""
    alone = [
        position
        for position in items
        if _collated(loader, {other: item for other, item in items.items() if other != position}) is not NOTHING_LEFT
    ]
    return alone if len(alone) == 1 and len(items) > 2 else []
