"""What experiments may cost: a share of the updates, saved up and owed within bounds."""

from __future__ import annotations

import pytest

from supervisor.experiments.budget import AT_FIRST, AT_MOST, FORWARD, PassBudget


def test_a_run_may_begin_with_some() -> None:
    budget = PassBudget(0.01)
    assert budget.affords(AT_FIRST)
    assert not budget.affords(AT_FIRST + FORWARD)


def test_each_update_adds_the_share() -> None:
    budget = PassBudget(0.01)
    budget.spend(AT_FIRST)
    assert not budget.affords(1.0)
    budget.earn(99)
    assert not budget.affords(1.0)
    budget.earn(2)
    assert budget.affords(1.0)
    assert budget.credit == pytest.approx(1.01)


def test_no_more_than_so_much_is_saved_up() -> None:
    budget = PassBudget(0.5)
    budget.earn(10_000)
    assert budget.credit == AT_MOST


def test_what_is_plainly_suspicious_may_be_owed_for_within_bounds() -> None:
    budget = PassBudget(0.01)
    budget.spend(AT_FIRST)
    assert budget.affords(AT_MOST, urgent=True)
    budget.spend(AT_MOST)
    assert not budget.affords(FORWARD, urgent=True)
    budget.earn(100)
    assert budget.affords(FORWARD, urgent=True)
    assert not budget.affords(FORWARD)


@pytest.mark.parametrize("share", [0.01, 0.1])
def test_in_the_long_run_experiments_cost_their_share(share: float) -> None:
    budget, made, updates = PassBudget(share), 0, 20_000
    for _ in range(updates):
        budget.earn()
        if budget.affords(4 * FORWARD):
            budget.spend(4 * FORWARD)
            made += 1
    assert made * 4 * FORWARD == pytest.approx(share * updates + AT_FIRST, abs=4 * FORWARD)
