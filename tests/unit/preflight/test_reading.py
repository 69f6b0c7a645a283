"""Each row is read once, a row that raises ends nothing, and the smallest batch is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, SubsetRandomSampler

from supervisor.preflight.reading import BatchReader, Read, RowName, RowReader, reader_of


class Squares(Dataset[tuple[Tensor, int]]):
    """Row i is (i, i²); those in `torn` raise, those in `longer` have two numbers more."""

    def __init__(self, count: int = 100, torn: tuple[int, ...] = (), longer: tuple[int, ...] = ()) -> None:
        self.count, self.torn, self.longer = count, torn, longer
        self.asked: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        self.asked.append(index)
        if index in self.torn:
            raise ValueError(f"row {index} is torn")
        return torch.full((3 if index in self.longer else 1,), float(index)), index**2


class Together(Squares):
    """The same, asked for a whole batch at once."""

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, int]]:
        return [super(Together, self).__getitem__(index) for index in indices]

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        raise AssertionError("the loader would ask for several")


class Stream(IterableDataset[Tensor]):
    def __init__(self, raise_at: int | None = None) -> None:
        self.raise_at = raise_at

    def __iter__(self) -> Iterator[Tensor]:
        for index in range(40):
            if index == self.raise_at:
                raise ValueError("torn")
            yield torch.full((1,), float(index))


def good(read: list[Read]) -> list[Any]:
    return [row.index for each in read if each.error is None for row in each.rows]


@pytest.mark.parametrize("kind", [Squares, Together])
@pytest.mark.parametrize("shuffle", [False, True])
def test_all_rows_are_read_by_their_index(kind: type[Squares], shuffle: bool) -> None:
    data_set = kind()
    reader = reader_of(DataLoader(data_set, batch_size=16, shuffle=shuffle))
    read = list(reader.read(None))
    assert good(read) == [*range(100)] == data_set.asked
    assert torch.cat([each.batch[0] for each in read]).flatten().tolist() == [*range(100)]
    assert (reader.unit, reader.total, reader.complete, reader.batch_sizes) == ("rows", 100, True, {16, 4})


def test_some_rows_are_spread_evenly() -> None:
    reader = reader_of(DataLoader(Squares(), batch_size=16, drop_last=True))
    assert good(list(reader.read(5))) == [0, 20, 40, 60, 80]
    assert (reader.complete, reader.batch_sizes) == (False, {16})


def test_a_row_that_raises_is_named_and_ends_nothing() -> None:
    read = list(reader_of(DataLoader(Squares(torn=(7, 8, 50)), batch_size=16)).read(None))
    raised = {row.index: str(each.error) for each in read if each.error is not None for row in each.rows}
    assert raised == {7: "row 7 is torn", 8: "row 8 is torn", 50: "row 50 is torn"}
    assert good(read) == [index for index in range(100) if index not in raised]


def test_a_row_of_another_shape_is_why_no_batch_can_be_made() -> None:
    read = list(reader_of(DataLoader(Squares(longer=(40,)), batch_size=16)).read(None))
    (bad,) = [each for each in read if each.error is not None]
    assert [row.index for row in bad.rows] == [40]
    assert str(bad.error) == "its shapes are [3], [], those of the others [1], []"


def test_rows_left_out_are_not_read_and_those_of_a_subset_alone_are() -> None:
    data_set = Squares()
    sampler = BatchSampler(SubsetRandomSampler([2, 3, 5, 7, 11]), 2, drop_last=False)
    reader = RowReader(DataLoader(data_set, batch_sampler=sampler), without=[5])
    assert good(list(reader.read(None))) == [2, 3, 7, 11]
    assert (data_set.asked, reader.batch_sizes) == ([2, 3, 7, 11], {2, 1})


def test_a_batch_whose_rows_cannot_be_told_apart_is_read_row_by_row() -> None:
    loader = DataLoader(Squares(10), batch_size=4, collate_fn=lambda rows: torch.cat([row[0] for row in rows]).sum())
    read = list(reader_of(loader).read(None))
    assert [(each.rows[0].index, each.apart) for each in read] == [(index, False) for index in range(10)]


def test_batches_are_read_as_they_come_and_tell_their_rows_where_they_do() -> None:
    batches = [{"x": torch.zeros(4), "index": torch.arange(4)}, {"x": torch.zeros(3)}, {"x": torch.zeros(1)}]
    reader = reader_of(batches)
    first, second, third = reader.read(None)
    assert list(first.rows) == [RowName(at, 0, at) for at in range(4)]
    assert list(second.rows) == [RowName(None, 1, at) for at in range(3)]
    assert list(third.rows) == [RowName(None, 2, 0)]
    assert (reader.unit, reader.total, reader.complete, reader.batch_sizes) == ("batches", 3, True, {4, 3, 1})


def test_the_last_batch_of_a_list_is_known_without_being_read() -> None:
    reader = reader_of([torch.zeros(4)] * 5 + [torch.zeros(1)])
    assert len(list(reader.read(8))) == 2
    assert (reader.complete, reader.batch_sizes) == (False, {4, 1})


def test_a_stream_is_no_data_set_of_rows() -> None:
    reader = reader_of(DataLoader(Stream(), batch_size=8))
    assert isinstance(reader, BatchReader)
    assert [len(each.rows) for each in reader.read(None)] == [8] * 5
    assert reader.total is None


def test_a_stream_that_raises_says_where_it_ended() -> None:
    reader = reader_of(DataLoader(Stream(raise_at=20), batch_size=8))
    *read, last = reader.read(None)
    assert [len(each.rows) for each in read] == [8, 8]
    assert (list(last.rows), str(last.error)) == ([RowName(batch=2)], "torn")
    assert (str(reader.ended_by), reader.complete) == ("torn", False)


def test_data_that_go_on_after_an_exception_are_read_on() -> None:
    class Once:
        """Raises for its second batch alone."""

        def __iter__(self) -> Iterator[Tensor]:
            self.count = 0
            return self

        def __next__(self) -> Tensor:
            self.count += 1
            if self.count == 2:
                raise ValueError("torn")
            if self.count > 4:
                raise StopIteration
            return torch.zeros(2)

    reader = reader_of(Once())
    assert [each.error is None for each in reader.read(None)] == [True, False, True, True]
    assert (reader.ended_by, reader.complete) == (None, True)


def test_data_without_a_length_are_read_as_far_as_the_run_needs() -> None:
    reader = reader_of(iter([torch.zeros(4)] * 9), needed=3)
    assert [len(each.rows) for each in reader.read(None)] == [4, 4, 4]
    assert (reader.complete, reader.enough) == (False, True)
    whole = reader_of([torch.zeros(4)] * 9, needed=3)
    assert len([*whole.read(None)]) == 9
    assert (whole.complete, whole.enough) == (True, False)


@pytest.mark.parametrize(
    "keys", [np.arange(6), torch.arange(6), [(row, 224) for row in range(6)], [[row] for row in range(6)]]
)
def test_rows_are_read_by_whatever_keys_the_sampler_gives(keys: Any) -> None:
    class Keyed(Dataset[Tensor]):
        def __getitem__(self, index: Any) -> Tensor:
            if torch.as_tensor(index).flatten()[0] == 3:
                raise ValueError("no such row")
            return torch.zeros(2)

    reader = reader_of(DataLoader(Keyed(), 2, sampler=keys))
    read = list(reader.read(None))
    assert (reader.total, reader.complete) == (6, True)
    (bad,) = [each for each in read if each.error is not None]
    assert bad.rows == [RowName(position=3) if isinstance(keys, list) else RowName(3)]
