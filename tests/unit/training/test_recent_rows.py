"""The rows of the batches drawn last, and batches without some of their rows."""

from __future__ import annotations

import torch
from torch import Tensor

from supervisor.training.bad_rows import NOTHING_LEFT
from supervisor.training.recent_rows import RecentRows, without_rows


def batch(*rows: float) -> Tensor:
    return torch.tensor(rows)


def test_the_rows_of_several_batches_stand_in_a_row() -> None:
    recent, first, second = RecentRows(), batch(1.0, 2.0), batch(3.0)
    recent.drawn(first, [7, 9])
    recent.drawn(second, [4])
    assert recent.of([first, second]) == [7, 9, 4]
    assert recent.of([second]) == [4]


def test_a_batch_that_comes_again_has_the_rows_that_it_was_drawn_with() -> None:
    recent, first, second = RecentRows(), batch(1.0, 2.0), batch(3.0)
    recent.drawn(first, [7, 9])
    recent.drawn(second, [4])
    recent.again(first)
    assert recent.of([first]) == [7, 9]


def test_where_they_were_not_recorded_or_do_not_fit_nothing_is_known() -> None:
    recent, one = RecentRows(), batch(1.0, 2.0)
    assert recent.of([one]) is None
    recent.drawn(one, None)
    assert recent.of([one]) is None
    recent.drawn(one, [1, 2, 3])
    assert recent.of([one]) is None


def test_some_rows_are_cut_out() -> None:
    whole = batch(1.0, 2.0, 3.0)
    cut, left = without_rows(whole, [7, 8, 9], {8})
    assert (cut.tolist(), left) == ([1.0, 3.0], [7, 9])
    assert without_rows(whole, [7, 8, 9], {1})[0] is whole
    assert without_rows(whole, None, {8}) == (whole, None)
    assert without_rows(whole, [7, 8, 9], {7, 8, 9})[0] is NOTHING_LEFT
