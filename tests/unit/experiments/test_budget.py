"""What trials may cost: a share of the updates, saved up, and owed for where something is plainly wrong."""

from __future__ import annotations

import pytest

from supervisor.experiments.budget import ALWAYS_EACH, AT_FIRST, AT_MOST, FORWARD, WARY_UPDATES, PassBudget

COST = 4 * FORWARD


def broke(**changes: int) -> PassBudget:
    """One that has nothing left, and owes nothing."""
    return PassBudget(0.01, credit=0.0, **changes)


def test_a_run_may_begin_with_some() -> None:
    budget = PassBudget(0.01)
    assert budget.allows(AT_FIRST, far_off=False)
    assert not PassBudget(0.01).allows(AT_FIRST + FORWARD, far_off=False)


def test_each_healthy_update_adds_the_share() -> None:
    budget = broke()
    for _ in range(99):
        budget.healthy()
    assert not budget.allows(1.0, far_off=False)
    for _ in range(2):
        budget.healthy()
    assert budget.allows(1.0, far_off=False)
    assert budget.credit == pytest.approx(1.01)


def test_no_more_than_so_much_is_saved_up() -> None:
    budget = PassBudget(0.5)
    for _ in range(100):
        budget.healthy()
    assert budget.credit == AT_MOST


def test_what_is_far_off_may_be_owed_for_within_bounds() -> None:
    budget = broke()
    assert budget.allows(AT_MOST, far_off=True)
    budget.spend(AT_MOST)
    budget.healthy()
    assert not budget.allows(1.0, far_off=True)


def test_so_may_the_second_odd_one_in_a_row() -> None:
    budget = broke()
    assert not budget.allows(COST, far_off=False)
    assert budget.allows(COST, far_off=False)
    budget.healthy()
    assert not budget.allows(COST, far_off=False)


def test_and_whatever_is_odd_soon_after_harm() -> None:
    budget = broke()
    budget.alarmed()
    for _ in range(WARY_UPDATES - 1):
        budget.healthy()
    assert budget.allows(AT_MOST, far_off=False)
    budget.healthy()
    assert not budget.allows(AT_MOST, far_off=False)


def test_one_in_so_many_that_could_not_be_paid_for_is_tried_all_the_same() -> None:
    budget = PassBudget(0.01, credit=-AT_MOST)
    tried = [budget.allows(COST, far_off=False) for _ in range(3 * ALWAYS_EACH)]
    assert [number for number, yes in enumerate(tried, 1) if yes] == [ALWAYS_EACH, 2 * ALWAYS_EACH, 3 * ALWAYS_EACH]


@pytest.mark.parametrize("share", [0.01, 0.1])
def test_in_the_long_run_noise_costs_no_more_than_the_share(share: float) -> None:
    """One odd update in ten, never two in a row, none of them far off."""
    budget, made, healthy = PassBudget(share), 0, 0
    for update in range(20_000):
        if update % 10 == 9:
            if budget.allows(COST, far_off=False):
                budget.spend(COST)
                made += 1
        else:
            budget.healthy()
            healthy += 1
    assert made * COST <= share * healthy + AT_FIRST
    assert made * COST >= 0.9 * min(share * healthy, 2000 * COST)
