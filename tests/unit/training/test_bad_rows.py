"""A batch that raises is read again, row by row, and read past."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from support.exact import assert_same, generators
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from supervisor.training.bad_rows import NOTHING_LEFT, BadSamples, ReadAgain, read_again, read_past
from supervisor.training.loader_errors import DataFault, LoaderError


class Rows(Dataset[Tensor]):
    """Rows that raise, rows of another width; each draws from the global generator."""

    def __init__(self, raising: Sequence[int] = (), wide: Sequence[int] = ()) -> None:
        self.raising, self.wide = set(raising), set(wide)

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Tensor:
        torch.rand(1)
        if index in self.raising:
            raise ValueError("no such row")
        return torch.full((3 if index in self.wide else 2,), float(index))


class Several(Rows):
    def __getitems__(self, indices: list[int]) -> list[Tensor]:
        return [self[index] for index in indices]


def read(rows: Rows, indices: Sequence[int] | None = (3, 4, 5, 6), left_out: Sequence[int] = ()) -> ReadAgain:
    return read_again(DataLoader(rows, 4), indices, left_out)


def numbers(batch: Any) -> list[int]:
    assert batch is not NOTHING_LEFT
    return [int(row[0]) for row in batch]


@pytest.mark.parametrize("kind", [Rows, Several])
def test_the_rows_that_raise_are_named_and_the_others_are_a_batch(kind: type[Rows]) -> None:
    found = read(kind([5, 3]))
    assert (found.bad, found.rows, found.all_raise, found.explained) == ((0, 2), (3, 5), False, False)
    assert (numbers(found.batch), found.kept) == ([4, 6], [4, 6])


def test_so_is_one_that_does_not_fit_the_others() -> None:
    found = read(Rows(wide=[6]))
    assert (found.bad, found.rows, found.kept) == ((3,), (6,), [3, 4, 5])
    assert numbers(found.batch) == [3, 4, 5]


@pytest.mark.parametrize("wide", [[3, 4], [4, 6]], ids=["two and two", "two and two others"])
def test_where_it_cannot_be_told_which_do_not_fit_nothing_is_left(wide: list[int]) -> None:
    found = read(Rows(wide=wide))
    assert (found.bad, found.batch) == ((), NOTHING_LEFT)


def test_rows_that_are_left_out_already_are_not_asked_for_and_explain_it() -> None:
    found = read(Rows([5]), left_out=[5])
    assert (found.bad, found.explained, found.kept, numbers(found.batch)) == ((), True, [3, 4, 6], [3, 4, 6])
    all_gone = read(Rows([5, 6]), (5, 6), left_out=[5, 6])
    assert (all_gone.explained, all_gone.batch, all_gone.kept) == (True, NOTHING_LEFT, [])
    another = read(Rows([5, 6]), left_out=[5])
    assert (another.rows, another.explained, another.kept) == ((6,), False, [3, 4])


def test_where_every_row_raises_it_is_said() -> None:
    found = read(Rows([3, 4, 5, 6]))
    assert (found.all_raise, found.batch) == (True, NOTHING_LEFT)


def test_what_is_sound_when_it_is_asked_again_is_the_whole_batch() -> None:
    found = read(Rows())
    assert (found.bad, found.explained, numbers(found.batch)) == ((), False, [3, 4, 5, 6])


def test_without_indices_nothing_is_found() -> None:
    assert read(Rows([5]), None) == ReadAgain()


def test_the_generators_are_put_back() -> None:
    before = generators()
    read(Rows([5]))
    assert_same(generators(), before)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_read_past_whatever_their_rows_raise(workers: int) -> None:
    iterator = iter(DataLoader(Rows([5]), 4, num_workers=workers))
    assert [read_past(iterator) for _ in range(5)] == [True, True, True, False, False]


def test_what_cannot_go_on_is_not_read_past() -> None:
    rows = (Rows([0])[index] for index in range(3))
    with pytest.raises(ValueError, match="no such row"):
        read_past(rows)


def test_the_exception_says_what_was_raised() -> None:
    told = LoaderError(DataFault.BAD_SAMPLE, "ValueError", "ValueError: no", "mine.py:3", "")
    error = ValueError("no")
    bad = BadSamples(told, error, ReadAgain())
    assert (str(bad), bad.error, bad.before) == ("ValueError: no", error, ())
