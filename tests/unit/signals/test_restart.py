"""Which jumps of a learning rate are warm restarts."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.signals.restart import JUMP, PROVEN, RateWatch


def after(*rates: float | None) -> RateWatch:
    watch = RateWatch()
    for rate in rates:
        watch.restarted(rate)
    return watch


CYCLE = [0.1 * (1 + math.cos(math.pi * i / PROVEN)) / 2 for i in range(PROVEN)]
"""One cycle of a cosine schedule, as long as a rate must be in use to count."""


def test_a_jump_back_to_a_rate_that_was_in_use_is_a_restart_once() -> None:
    watch = after(*CYCLE)
    assert watch.restarted(0.1)
    assert not watch.restarted(0.1)


@pytest.mark.parametrize(
    ("rate", "restarts"),
    [
        (0.1, True),
        (0.1 * 1.01, True),
        (0.1 * 1.02, False),
        (1.0, False),
        (CYCLE[-1] * JUMP * 1.01, True),
        (CYCLE[-1] * JUMP * 0.99, False),
        (None, False),
    ],
)
def test_where_a_restart_begins_and_ends(rate: float | None, restarts: bool) -> None:
    assert after(*CYCLE).restarted(rate) is restarts


def test_the_first_rate_is_none_and_neither_is_one_before_the_cycle_was_whole() -> None:
    assert not RateWatch().restarted(0.1)
    assert not after(*CYCLE[:-1]).restarted(0.1)


def test_a_higher_rate_of_a_later_cycle_counts_once_that_cycle_is_whole() -> None:
    assert not after(*[0.1] * PROVEN, *[0.2] * (PROVEN - 2), 0.05).restarted(0.2)
    assert after(*[0.1] * PROVEN, *[0.2] * PROVEN, 0.05).restarted(0.2)


def test_a_rate_that_the_run_went_back_from_was_never_in_use() -> None:
    watch = after(*CYCLE, 1.0)
    watch.restored()
    assert not any(watch.restarted(rate) for rate in (0.05, 1.0) for _ in range(PROVEN // 2 - 1))


class Plain:
    """The same rule, written down as its description says it."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.proven = 0.0
        self.block: list[float] = []

    def restarted(self, rate: float | None) -> bool:
        if rate is None:
            return False
        found = bool(self.rates) and JUMP * self.rates[-1] < rate <= 1.01 * self.proven
        self.rates.append(rate)
        self.block.append(rate)
        if len(self.block) == PROVEN:
            self.proven = max(self.proven, *self.block)
            self.block = []
        return found


RATES = st.one_of(st.none(), st.floats(0, 1), st.sampled_from([0.1, 0.2, 0.4]))


@given(st.lists(RATES, max_size=3 * PROVEN + 5), st.integers(0, 100))
def test_it_is_the_rule_described_and_its_state_goes_on_alike(rates: list[float | None], cut: int) -> None:
    watch, plain = RateWatch(), Plain()
    for number, rate in enumerate(rates):
        if number == cut:
            watch = RateWatch(**json.loads(json.dumps(asdict(watch))))
        assert watch.restarted(rate) == plain.restarted(rate)
