"""A row is noted before the data set is asked for it, so that one that ends the process can be named."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch.utils.data import get_worker_info

from supervisor.training.row_names import row_name

__all__ = ["LeftOut", "Note", "NotedRows", "Noting", "note_reading", "note_rows_of", "rows_of"]

ENDS_NO_PROCESS = (Exception, KeyboardInterrupt)
"""What a row raises is answered, and Ctrl-C is not the row's; anything else, `sys.exit` most often, is as deadly as
`os._exit`: the note stays."""


class Note(Protocol):
    """Says to whoever looks, also when this process is gone, which rows it is reading."""

    def begin(self, row: object) -> None:
        """A row is read from now on."""

    def begin_several(self, rows: Iterable[object]) -> None:
        """Rows are read, in whichever order."""

    def end(self) -> None:
        """They are read."""


class LeftOut(Exception):
    """A row is not to be read. Whoever asks for it meets what he meets of a row that raises."""


@dataclass(slots=True)
class Noting:
    """What is noted, in this process and in those of a loader that it forks.

    Attributes:
        noter: gives the note of a process by its number, None to note nothing.
        one_by_one: rows of which one has ended a process: a batch with one of them is read row by row.
        dataset: the data set that is trained on; None while no iterator over it is begun.
        never: its rows that are not to be read.
        note: of the process `pid`.
    """

    noter: Callable[[int], Note] | None = None
    one_by_one: frozenset[Any] = frozenset()
    dataset: Any = None
    never: Collection[Any] = ()
    note: Note | None = None
    pid: int = 0


noting = Noting()


def note_reading(noter: Callable[[int], Note], one_by_one: Collection[Any] = ()) -> bool:
    """Have the rows noted that the loaders of this process read from now on, of data that a guard draws from.

    Takes under a microsecond a row. To be called before the first loader is iterated. Loader processes that are not
    forked take no notes.

    Args:
        noter: gives the note of a process, by its number: 0 for this one, from 1 on for those of a loader. One that it
            raises an `OSError` or a `ValueError` for takes none.
        one_by_one: rows one of which has ended a process before.

    Returns:
        Whether it could be arranged; where this torch is built otherwise, nothing is changed.
    """
    try:
        kinds = importlib.import_module("torch.utils.data.dataloader")._DatasetKind
        original = kinds.create_fetcher
    except (ImportError, AttributeError):
        return False
    noting.noter, noting.one_by_one, noting.note = noter, frozenset(one_by_one), None

    def create_fetcher(kind: Any, dataset: Any, *rest: Any, **named: Any) -> Any:
        fetcher = original(kind, dataset, *rest, **named)
        noted = rows_of(dataset)
        if noted is not dataset:
            _read_through(fetcher, noted)
        return fetcher

    kinds.create_fetcher = staticmethod(create_fetcher)
    return True


def note_rows_of(dataset: Any, never: Collection[Any]) -> None:
    """An iterator over the data set that is trained on is begun: the rows of this one are noted from now on.

    Args:
        dataset: the data set.
        never: rows that are not to be read.
    """
    noting.dataset, noting.never = dataset, never


def rows_of(dataset: Any) -> Any:
    """A data set whose rows are noted as they are read; the data set itself where they are not to be."""
    note = _note() if dataset is noting.dataset else None
    return dataset if note is None else NotedRows(dataset, note, noting.one_by_one, noting.never)


class NotedRows:
    """Stands for a data set where it is asked for rows.

    Args:
        dataset: the data set.
        note: takes the notes.
        one_by_one: a batch with one of these rows is read row by row.
        never: rows that are not read.
    """

    def __init__(self, dataset: Any, note: Note, one_by_one: Collection[Any] = (), never: Collection[Any] = ()) -> None:
        self._dataset = dataset
        self._note = note
        self._one_by_one = one_by_one
        self._never = never
        self._several = getattr(dataset, "__getitems__", None)

    @property
    def __getitems__(self) -> Callable[[Sequence[Any]], Any] | None:
        return self._get_several if self._several else None

    def __getitem__(self, index: Any) -> Any:
        self._refuse([index])
        self._note.begin(index)
        try:
            row = self._dataset[index]
        except ENDS_NO_PROCESS:
            self._note.end()
            raise
        self._note.end()
        return row

    def _get_several(self, indices: Sequence[Any]) -> Any:
        self._refuse(indices)
        if self._one_by_one and any(row_name(index) in self._one_by_one for index in indices):
            return [self._read_several([index])[0] for index in indices]
        return self._read_several(indices)

    def _read_several(self, indices: Sequence[Any]) -> Any:
        self._note.begin_several(indices)
        try:
            rows = self._dataset.__getitems__(indices)
        except ENDS_NO_PROCESS:
            self._note.end()
            raise
        self._note.end()
        return rows

    def _refuse(self, indices: Sequence[Any]) -> None:
        if self._never:
            for index in indices:
                if row_name(index) in self._never:
                    raise LeftOut(f"row {row_name(index)} is left out")


def _note() -> Note | None:
    if noting.noter is not None and (noting.note is None or noting.pid != os.getpid()):
        # The one of the process that this was forked from is not this one's.
        noting.note, noting.pid, info = None, os.getpid(), get_worker_info()
        with contextlib.suppress(OSError, ValueError):
            noting.note = noting.noter(0 if info is None else info.id + 1)
    return noting.note


def _read_through(fetcher: Any, noted: NotedRows) -> None:
    """Have a fetcher of torch's ask for rows there, and hold the data set itself for everything else."""
    dataset, fetch = fetcher.dataset, fetcher.fetch

    def noted_fetch(indices: Any) -> Any:
        fetcher.dataset = noted
        try:
            return fetch(indices)
        finally:
            fetcher.dataset = dataset

    fetcher.fetch = noted_fetch
