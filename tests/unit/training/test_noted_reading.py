"""A row that ends the process that reads it can be named by another one: real processes that really end."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, Subset
from torch.utils.data.dataloader import _DatasetKind
from torchdata.stateful_dataloader import StatefulDataLoader

from supervisor.events.reading_file import ReadingNote, new_reading_file, rows_being_read
from supervisor.training import noted_reading
from supervisor.training.data_cursor import DataCursor
from supervisor.training.noted_reading import Noting, note_reading, note_rows_of, rows_of


class Rows(Dataset[Any]):
    """One of them ends the process that reads it, another raises."""

    def __init__(self, deadly: int | None = None, raising: int | None = None) -> None:
        self.deadly, self.raising = deadly, raising
        self.seen: list[int] = []

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Any:
        if index == self.deadly:
            os._exit(7)
        if index == self.raising:
            raise OSError("torn record")
        self.seen.append(index)
        return torch.tensor(index)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_DatasetKind, "create_fetcher", staticmethod(_DatasetKind.create_fetcher))
    monkeypatch.setattr(noted_reading, "noting", Noting())
    new_reading_file(tmp_path / "reading")
    return tmp_path / "reading"


def exit_of_a_process_that(reads: Any) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            reads()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("kind", [DataLoader, StatefulDataLoader])
def test_the_row_that_ends_the_process_is_named(path: Path, kind: Any) -> None:
    def reads() -> None:
        note_reading(functools.partial(ReadingNote, path))
        cursor = DataCursor(kind(Rows(deadly=6), batch_size=4))
        while True:
            cursor.next()

    assert exit_of_a_process_that(reads) == 7
    assert rows_being_read(path) == (6,)


class Exiting(Rows):
    """One of them leaves the program."""

    def __getitem__(self, index: int) -> Any:
        if index == 6:
            sys.exit(7)
        return super().__getitem__(index)


class ExitingTogether(Exiting):
    def __getitems__(self, indices: list[int]) -> list[Any]:
        return [self[index] for index in indices]


@pytest.mark.parametrize("processes", [0, 1])
@pytest.mark.parametrize(("rows", "named"), [(Exiting(), (6,)), (ExitingTogether(), (4, 5, 6, 7))])
def test_so_is_one_that_leaves_the_program(path: Path, rows: Rows, named: tuple[int, ...], processes: int) -> None:
    def reads() -> None:
        note_reading(functools.partial(ReadingNote, path))
        cursor = DataCursor(DataLoader(rows, batch_size=4, num_workers=processes))
        while True:
            cursor.next()

    assert exit_of_a_process_that(reads) == 1
    assert rows_being_read(path) == named


# A loader whose process has died may complain once more while it is taken down.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", [DataLoader, StatefulDataLoader])
def test_one_that_ends_a_process_of_the_loader_too(path: Path, kind: Any) -> None:
    note_reading(functools.partial(ReadingNote, path))
    cursor = DataCursor(kind(Rows(deadly=6), batch_size=4, num_workers=2))
    with pytest.raises(RuntimeError, match="DataLoader worker") as caught:
        cursor.give(2)
    (pid,) = (int(word) for word in str(caught.value).replace(")", "").replace(",", "").split() if word.isdecimal())
    assert rows_being_read(path, [pid]) == (6,)
    assert rows_being_read(path, [os.getpid()]) == ()


@pytest.mark.parametrize(("one_by_one", "named"), [((), (4, 5, 6, 7)), ((5,), (6,))])
def test_of_rows_that_are_read_together_all_are_named_until_they_are_read_one_by_one(
    path: Path, one_by_one: tuple[int, ...], named: tuple[int, ...]
) -> None:
    def reads() -> None:
        note_reading(functools.partial(ReadingNote, path), one_by_one)
        cursor = DataCursor(DataLoader(Subset(Rows(deadly=6), range(12)), batch_size=4))
        while True:
            cursor.next()

    assert exit_of_a_process_that(reads) == 7
    assert rows_being_read(path) == named


def test_batches_are_what_they_are_and_nothing_is_named_once_they_are_read(path: Path) -> None:
    rows = Rows(raising=5)
    note_reading(functools.partial(ReadingNote, path))
    loader = DataLoader(rows, batch_size=4)
    cursor = DataCursor(loader)
    assert [cursor.ahead().tolist() for _ in range(4)] == [[0, 1, 2, 3], [4, 6, 7], [8, 9, 10, 11], [0, 1, 2, 3]]
    assert rows_being_read(path) == ()
    assert loader.dataset is rows


def test_rows_of_another_data_set_are_not_noted(path: Path) -> None:
    note_reading(functools.partial(ReadingNote, path))
    trained_on, other = Rows(), Rows()
    assert rows_of(trained_on) is trained_on
    note_rows_of(trained_on, ())
    assert rows_of(other) is other
    assert rows_of(trained_on) is not trained_on
    assert rows_of(trained_on)[3].item() == 3


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("never", [(6,), (4, 5, 6, 7)])
def test_what_is_not_to_be_read_is_not(path: Path, never: tuple[int, ...], workers: int) -> None:
    """Nor in a batch of nothing else, which is passed over."""
    note_reading(functools.partial(ReadingNote, path))
    rows = Rows(deadly=6)
    cursor = DataCursor(DataLoader(rows, batch_size=4, num_workers=workers), never)
    cursor.quarantined = frozenset(never)
    left = [row for row in (4, 5, 6, 7) if row not in never]
    batches = [batch for batch in ([0, 1, 2, 3], left, [8, 9, 10, 11]) if batch]
    assert [cursor.next().tolist() for _ in range(2 * len(batches))] == batches * 2
    assert cursor.batch_number == 6
    if not workers:
        assert not set(rows.seen) & set(never)


def test_without_the_switch_of_torchs_nothing_is_changed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(_DatasetKind, "create_fetcher")
    assert not note_reading(functools.partial(ReadingNote, path))
    note_rows_of(rows := Rows(), ())
    assert rows_of(rows) is rows
