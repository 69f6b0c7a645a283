"""Which checkpoints stay for being the best."""

from __future__ import annotations

import pytest

from supervisor.checkpoints import BestRule, Kept
from supervisor.states.best import BestCheckpoints


def measured(values: dict[int, float], rule: BestRule | None = None) -> BestCheckpoints:
    best = BestCheckpoints(rule or BestRule("mrr", "max"))
    for update, value in values.items():
        best.note(update, {"mrr": value})
    return best


@pytest.mark.parametrize(
    ("goods", "stay"),
    [
        ((True, True, True), {4}),
        ((True, True, False), {4}),
        ((True, False, False), {2, 4}),
        ((False, False, False), {4}),
    ],
)
def test_the_best_stays_and_until_it_is_good_the_best_good_one(goods: tuple[bool, ...], stay: set[int]) -> None:
    best = measured({2: 0.5, 4: 0.9, 6: 0.1})
    held = [Kept(update, update, good) for update, good in zip((2, 4, 6), goods, strict=True)]
    assert best.pinned(held) == stay


def test_a_better_state_beats_all_that_are_held_and_an_equal_one_does_not() -> None:
    best = measured({2: 0.5})
    assert [best.beaten_by({"mrr": value}) for value in (0.4, 0.5, 0.6)] == [False, False, True]
    assert not best.beaten_by({"loss": 9.0})
    assert not best.beaten_by({"mrr": float("nan")})
    assert measured({2: 0.5}, BestRule("mrr", "min")).beaten_by({"mrr": 0.4})
    assert BestCheckpoints(BestRule("mrr", "max")).beaten_by({"mrr": -3.0})


def test_one_that_is_let_go_is_the_best_no_more() -> None:
    best = measured({2: 0.5, 4: 0.9})
    best.forget(4)
    best.forget(5)
    assert (best.of([2, 4]), best.knows(2), best.knows(4)) == ((2, 0.5), True, False)


def test_without_a_rule_none_is_kept() -> None:
    best = BestCheckpoints(None)
    best.note(2, {"mrr": 0.5})
    assert (best.pinned([Kept(2, 2, True)]), best.beaten_by({"mrr": 1.0}), best.of([2])) == (frozenset(), False, None)
    assert best.knows(2)
