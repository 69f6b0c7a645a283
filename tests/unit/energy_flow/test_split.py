"""The split: blocks of rows, held apart by a gap and without near duplicates across."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from energy_flow.split import BUNDLED, HoldOut, Split, split_rows


def unit_rows(rows: int) -> Tensor:
    return functional.normalize(torch.randn(rows, 40), dim=1)


def parts(split: Split) -> tuple[list[int], list[int], list[int]]:
    return split.training.tolist(), split.validation.tolist(), split.test.tolist()


def test_the_parts_are_blocks_with_a_gap_before_the_test_part() -> None:
    split = split_rows(unit_rows(20), unit_rows(20), HoldOut(validation=4, test=3, gap=2))
    assert parts(split) == (list(range(11)), [16, 17, 18, 19], [13, 14, 15])


def test_without_a_test_part_all_before_the_validation_part_is_for_training() -> None:
    assert parts(split_rows(unit_rows(9), unit_rows(9), HoldOut(validation=4, gap=2))) == (
        list(range(5)),
        [5, 6, 7, 8],
        [],
    )


def test_a_file_too_small_gives_smaller_parts() -> None:
    split = split_rows(unit_rows(5), unit_rows(5), HoldOut(validation=4, test=3, gap=2, near_duplicate=0.9))
    assert parts(split) == ([], [1, 2, 3, 4], [0])


def test_near_duplicates_cross_no_border_on_either_side_of_a_pair() -> None:
    question, answer = unit_rows(20), unit_rows(20)
    question[3] = question[17]  # training and validation
    answer[5] = functional.normalize(question[14] + 0.02 * torch.randn(40), dim=0)  # training and test
    question[15] = answer[18]  # would be test, but is in the validation part
    answer[1] = -answer[19]  # opposite is not alike
    split = split_rows(question, answer, HoldOut(validation=4, test=3, gap=2, near_duplicate=0.9))
    assert parts(split) == ([0, 1, 2, 4, 6, 7, 8, 9], [16, 17, 18, 19], [12, 13, 14])


def test_without_a_threshold_nothing_is_compared() -> None:
    same = unit_rows(1).expand(20, -1)
    assert len(split_rows(same, same, HoldOut(validation=4, test=3)).training) == 13


def test_the_bundled_file_is_split_in_three() -> None:
    assert (BUNDLED.validation, BUNDLED.test, BUNDLED.gap) == (512, 512, 32)
