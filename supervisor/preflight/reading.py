"""The rows of a job's data, read for a look at each: by index where there is a data set, else batch after batch."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.data import BatchSampler, RandomSampler, SequentialSampler, default_collate

from supervisor.training.data_indices import indices_in, loader_of_rows
from supervisor.training.end_of_data import END, begun, draw
from supervisor.training.row_names import row_name
from supervisor.training.samples import sample_count
from supervisor.training.tree import tensors

__all__ = ["BatchReader", "Read", "RowName", "RowReader", "reader_of"]

MOST_DRAWN = 2_000_000
"""Batches of indices that are asked of a sampler which does not say how many there are."""
BLOCK = 64
"""Rows read at once, at most."""


@dataclass(frozen=True, slots=True)
class RowName:
    """Which row is meant.

    Attributes:
        index: its index in the data set, None where that is not known.
        batch: number of its batch in the pass, from 0, where the index is not known.
        position: its place in that batch, from 0; None for the whole batch. Without a batch, its place among the rows
            that the sampler asks for, by keys that are neither numbers nor text.
    """

    index: int | str | None = None
    batch: int | None = None
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """What reading some rows gave.

    Attributes:
        rows: their names, in the order in which they lie in the batch; one for the whole batch where its rows cannot
            be told apart.
        batch: them as the loader would hand them over; None where that raised.
        error: what reading raised.
        apart: whether each row has its place along dimension 0.
    """

    rows: Sequence[RowName]
    batch: Any = None
    error: Exception | None = None
    apart: bool = True


class RowReader:
    """Reads the rows of the data set behind a loader, each by its index, past the loader's sampler and processes.

    A row that raises does not end the pass: the rows that were read together with it are read again one by one.

    Args:
        loader: a loader of rows (`loader_of_rows`).
        without: indices to leave out.

    Attributes:
        total: how many rows there are to read.
        unit: what they are called.
        ended_by: never anything, since every row is asked for by itself.
        batch_sizes: the numbers of rows that the batches of an epoch have.
        complete: whether all of them were read.
        enough: never; the rows of a data set are a whole that is looked at.
    """

    unit = "rows"
    enough = False
    ended_by: Exception | None = None
    complete = False

    def __init__(self, loader: Any, without: Iterable[Any] = ()) -> None:
        self._data_set = loader.dataset
        self._collate = loader.collate_fn
        self._stacks = self._collate is default_collate
        self._block = max(1, min(BLOCK, getattr(loader, "batch_size", None) or BLOCK))
        left_out = frozenset(without)
        drawn, self.batch_sizes = _rows_drawn(loader)
        self._indices: Sequence[Any] = [each for each in drawn if row_name(each) not in left_out] if left_out else drawn
        self.total: int | None = len(self._indices)

    def read(self, most: int | None) -> Iterator[Read]:
        """So many rows, spread evenly over all of them; all of them with None."""
        total = len(self._indices)
        count = total if most is None else min(most, total)
        for start in range(0, count, self._block):
            yield from self._read([place * total // count for place in range(start, min(start + self._block, count))])
        self.complete = count == total

    def _read(self, places: list[int]) -> Iterator[Read]:
        indices = [self._indices[place] for place in places]
        names = [_named(index, place) for index, place in zip(indices, places, strict=True)]
        try:
            batch = self._fetch(indices)
        except Exception as error:  # noqa: BLE001  (whatever the user's data set raises)
            if len(indices) == 1:
                yield Read(names, error=error)
                return
            yield from self._one_by_one(places, error)
            return
        if sample_count(batch) == len(indices):
            yield Read(names, batch)
        elif len(indices) == 1:
            yield Read(names, batch, apart=False)
        else:
            for place in places:
                yield from self._read([place])

    def _one_by_one(self, places: list[int], together: Exception) -> Iterator[Read]:
        """Each row by itself; where none raises, those of another shape than most are why they cannot be stacked."""
        read = [each for place in places for each in self._read([place])]
        if self._stacks and all(each.error is None for each in read):
            shapes = [_shapes(each.batch) for each in read]
            usual = max(shapes, key=shapes.count)
            odd = [shape != usual for shape in shapes]
            read = [
                Read(each.rows, error=ValueError(f"its shapes are {shape}, those of the others {usual}"))
                if other
                else each
                for each, shape, other in zip(read, shapes, odd, strict=True)
            ]
        yield from read

    def _fetch(self, indices: list[Any]) -> Any:
        """As a loader's process does it."""
        if getattr(self._data_set, "__getitems__", None):
            rows = self._data_set.__getitems__(indices)
        else:
            rows = [self._data_set[index] for index in indices]
        return self._collate(rows)


class BatchReader:
    """Reads batches as the data give them, for data without rows that could be asked for by themselves.

    Args:
        data: iterable of batches.
        needed: batches that the run takes; data that do not say how many they hold, and may be endless, are read so
            far. None: to their end.

    Attributes:
        total: how many batches there are, None where that is not known.
        unit: what they are called.
        ended_by: the exception after which the data gave nothing more.
        complete: whether the data came to their end, and not by an exception.
        most: so many are read at most; None where there is no such limit.
        enough: whether no more were read because the run takes no more.
    """

    unit = "batches"
    complete = False
    enough = False

    def __init__(self, data: Iterable[Any], needed: int | None = None) -> None:
        self._data = data
        self.ended_by: Exception | None = None
        self.total: int | None = _length(data)
        self.most = needed if self.total is None else None
        self.batch_sizes: set[int] = set()

    def read(self, most: int | None) -> Iterator[Read]:
        """Batches until so many rows have come; all of them with None."""
        rows, raised = 0, None
        if isinstance(self._data, (list, tuple)) and self._data and (last := sample_count(self._data[-1])):
            # The odd one, which a look at the first rows does not come to.
            self.batch_sizes.add(last)
        batches = begun(self._data)
        for number in itertools.count():
            if most is not None and rows >= most:
                return
            if self.most is not None and number >= self.most:
                self.enough = True
                return
            try:
                batch = draw(batches)
            except Exception as error:  # noqa: BLE001  (whatever the user's data raise)
                if raised is not None:
                    self.ended_by = error
                    return
                raised = error
                yield Read([RowName(batch=number)], error=error)
                continue
            if batch is END:
                # A generator that raised gives nothing more, which looks like its end.
                self.ended_by = raised
                self.complete = raised is None
                return
            raised = None
            count = sample_count(batch)
            rows += count or 1
            if count is None:
                yield Read([RowName(batch=number)], batch, apart=False)
                continue
            self.batch_sizes.add(count)
            told = indices_in(batch)
            indices = told if told is not None and len(told) == count else None
            yield Read([RowName(None if indices is None else indices[at], number, at) for at in range(count)], batch)


def reader_of(data: Any, without: Iterable[Any] = (), needed: int | None = None) -> RowReader | BatchReader:
    """The reader that fits the data.

    Args:
        data: the trainer's.
        without: indices that the job leaves out already.
        needed: batches that the run still takes of data that have no rows to be asked for.
    """
    loader = loader_of_rows(data)
    return BatchReader(data, needed) if loader is None else RowReader(loader, without)


def _named(index: Any, place: int) -> RowName:
    name = row_name(index)
    return RowName(position=place) if name is None else RowName(name)


def _rows_drawn(loader: Any) -> tuple[Sequence[Any], set[int]]:
    """The rows that the loader's samplers ask for in an epoch, and the numbers of rows that its batches have.

    They come in the order of the data set where they are numbers.
    """
    batches = loader.batch_sampler
    if isinstance(batches, BatchSampler) and isinstance(batches.sampler, (SequentialSampler, RandomSampler)):
        whole, rest = divmod(len(batches.sampler), batches.batch_size)
        sizes = ({batches.batch_size} if whole else set()) | ({rest} if rest and not batches.drop_last else set())
        return range(len(loader.dataset)), sizes
    found: dict[Any, Any] = {}
    sizes = set()
    for indices in itertools.islice(iter(batches), _length(batches) or MOST_DRAWN):
        # Keys that are neither numbers nor text may not be hashable, and stay what they are.
        named = [(row_name(index), index) for index in indices]
        found.update((id(index), index) if name is None else ((name,), index) for name, index in named)
        sizes.add(len(indices))
    rows = list(found.values())
    return sorted(rows) if all(isinstance(each, int) for each in rows) else rows, sizes


def _length(held: Any) -> int | None:
    try:
        return len(held)
    except TypeError:
        return None


def _shapes(batch: Any) -> str:
    return ", ".join(str(list(tensor.shape[1:])) for _, tensor in tensors(batch))
