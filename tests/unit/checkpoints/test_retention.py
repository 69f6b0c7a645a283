"""Which states can go, by examples; `tests/property/test_retention.py` holds for any."""

from __future__ import annotations

import pytest

from supervisor.checkpoints.retention import Kept, surplus


def good(*updates: int) -> list[Kept]:
    return [Kept(update, update, good=True) for update in updates]


def waiting(healthy_steps: int, *updates: int) -> list[Kept]:
    return [Kept(update, update, good=False, healthy_steps=healthy_steps) for update in updates]


@pytest.mark.parametrize(("keep", "gone"), [(1, good(10, 20)), (2, good(10)), (3, []), (9, [])])
def test_the_newest_good_ones_stay(keep: int, gone: list[Kept]) -> None:
    assert surplus(good(20, 30, 10), keep) == gone


def test_the_newest_good_one_stays_even_where_none_is_to_be_kept() -> None:
    assert surplus(good(10, 20), 0) == good(10)
    assert surplus([], 0) == []


def test_newest_means_by_update_after_a_reload() -> None:
    abandoned, again = Kept(step=30, update=30, good=True), Kept(step=20, update=40, good=True)
    assert surplus([abandoned, again], 1) == [abandoned]


def test_one_on_probation_stays_beside_newer_ones_that_have_waited_less() -> None:
    assert surplus([*waiting(3, 10), *waiting(2, 20), *waiting(1, 30)], 1) == []


def test_of_those_that_would_be_promoted_together_only_the_newest_can_matter() -> None:
    held = [*waiting(0, 10, 20, 30), *good(5)]
    assert surplus(held, 2) == waiting(0, 10)
