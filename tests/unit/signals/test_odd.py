"""Odd updates and extreme ones: what is suspicious, what is beyond doubt, and what does not count at all."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.policy import Experiments, SpikeDetection
from supervisor.records import Observation, SignalName
from supervisor.signals.odd import BEYOND_ALL, EXTREME, OddDetector

OK = Observation(step=0, update=0, loss=1.0, grad_norm=1.0)
WINDOW = SpikeDetection(window_updates=64, warmup_updates=32)
SETTINGS = Experiments()

Quantity = Literal["loss", "grad_norm"]
QUANTITIES: list[Quantity] = ["loss", "grad_norm"]


def noise(count: int, *, around: float = 1.0, width: float = 0.02, seed: int = 0) -> list[float]:
    draw = random.Random(seed)
    return [around * math.exp(draw.gauss(0, width)) for _ in range(count)]


def fed(
    values: Iterable[float],
    quantity: Quantity = "loss",
    settings: Experiments = SETTINGS,
    window: SpikeDetection = WINDOW,
    **seen: Any,
) -> OddDetector:
    detector = OddDetector(quantity, settings, window)
    for value in values:
        detector.accept(replace(OK, **{quantity: value}, **seen))
    return detector


def is_odd(detector: OddDetector, value: float, quantity: Quantity = "loss") -> bool:
    return detector.suspect(replace(OK, **{quantity: value})) is not None


def is_extreme(detector: OddDetector, value: float, quantity: Quantity = "loss") -> bool:
    return detector.inspect(replace(OK, **{quantity: value})) is not None


@pytest.mark.parametrize("quantity", QUANTITIES)
class TestEither:
    def test_an_odd_value_is_named_with_its_numbers(self, quantity: Quantity) -> None:
        detector = fed(noise(64), quantity)
        signal = detector.suspect(replace(OK, **{quantity: 1.5}))
        assert signal is not None
        assert signal.name is SignalName.ODD_UPDATE
        assert signal.details[quantity] == 1.5
        assert signal.details["median"] == pytest.approx(1.0, rel=0.05)
        assert signal.details["score"] == pytest.approx(math.log(1.5) / 0.05, rel=0.1)

    def test_an_odd_value_is_no_finding_and_an_extreme_one_is(self, quantity: Quantity) -> None:
        detector, name = fed(noise(64), quantity), {"loss": "loss_spike", "grad_norm": "gradient_spike"}[quantity]
        assert is_odd(detector, 20.0, quantity)
        assert detector.inspect(replace(OK, **{quantity: 20.0})) is None
        signal = detector.inspect(replace(OK, **{quantity: 1000.0}))
        assert signal is not None
        assert signal.name == name
        assert is_odd(detector, 1000.0, quantity)

    def test_how_far_an_extreme_one_is_from_the_largest(self, quantity: Quantity) -> None:
        values = noise(64)
        values[-5] = 4.0
        detector, edge = fed(values, quantity), EXTREME[quantity] * 4.0
        assert not is_extreme(detector, 0.99 * edge, quantity)
        assert is_extreme(detector, 1.01 * edge, quantity)

    def test_what_is_usual_or_better_is_neither(self, quantity: Quantity) -> None:
        detector = fed(noise(64), quantity)
        for value in (0.0, 0.01, 0.9, 1.0, 1.05):
            assert not is_odd(detector, value, quantity)
            assert not is_extreme(detector, value, quantity)

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_what_is_not_finite_is_others_to_find(self, quantity: Quantity, value: float) -> None:
        detector = fed(noise(64), quantity)
        assert not is_odd(detector, value, quantity)
        assert not is_extreme(detector, value, quantity)

    def test_nothing_that_is_not_extreme_is_odd_before_the_window_is_warm(self, quantity: Quantity) -> None:
        detector = fed(noise(31), quantity)
        assert not is_odd(detector, 5.0, quantity)
        detector.accept(OK)
        assert is_odd(detector, 5.0, quantity)

    def test_an_extreme_value_is_found_from_eight_values_on_and_is_odd(self, quantity: Quantity) -> None:
        """One that passed in the warm-up would hide those that follow."""
        detector = fed(noise(7), quantity)
        assert not is_extreme(detector, 1e9, quantity)
        assert not is_odd(detector, 1e9, quantity)
        detector.accept(OK)
        signal = detector.suspect(replace(OK, **{quantity: 1e9}))
        assert is_extreme(detector, 1e9, quantity)
        assert signal is not None
        assert signal.details == {quantity: 1e9, "median": pytest.approx(1.0, rel=0.05)}

    def test_an_odd_value_is_at_least_a_fifth_above_the_typical_one(self, quantity: Quantity) -> None:
        """However steady the window is."""
        detector = fed([1.0] * 64, quantity)
        assert not is_odd(detector, 1.19, quantity)
        assert is_odd(detector, 1.21, quantity)

    def test_where_values_scatter_an_odd_one_is_beyond_the_score(self, quantity: Quantity) -> None:
        values = noise(640, width=0.3)
        window = SpikeDetection(window_updates=640, warmup_updates=32)
        detector = fed(values, quantity, window=window)
        assert not is_odd(detector, math.exp(0.3 * 2.4), quantity)
        assert is_odd(detector, math.exp(0.3 * 3.6), quantity)
        other = fed(values, quantity, Experiments(suspect_score=6.0), window)
        assert not is_odd(other, math.exp(0.3 * 4.8), quantity)
        assert is_odd(other, math.exp(0.3 * 7.2), quantity)

    def test_a_window_of_zeros_alone_makes_nothing_odd_or_extreme(self, quantity: Quantity) -> None:
        detector = fed([0.0] * 64, quantity)
        assert not is_odd(detector, 5.0, quantity)
        assert not is_extreme(detector, 1e9, quantity)

    def test_flagged_values_change_nothing(self, quantity: Quantity) -> None:
        detector = fed(noise(64), quantity)
        before = detector.state_dict()
        for value in (50.0, math.nan, 1e9):
            detector.flagged(replace(OK, **{quantity: value}))
        assert detector.state_dict() == before

    def test_even_an_accepted_nan_enters_no_window(self, quantity: Quantity) -> None:
        detector = fed(noise(64), quantity)
        before = detector.state_dict()
        for value in (math.nan, math.inf):
            detector.accept(replace(OK, **{quantity: value}))
        assert detector.state_dict() == before

    def test_it_goes_on_alike_from_a_state_that_went_through_json(self, quantity: Quantity) -> None:
        one, other = fed(noise(50), quantity), OddDetector(quantity, SETTINGS, WINDOW)
        other.load_state_dict(json.loads(json.dumps(one.state_dict())))
        for value in noise(40, seed=1):
            odd = replace(OK, **{quantity: 1.4})
            assert one.suspect(odd) == other.suspect(odd)
            for each in (one, other):
                each.accept(replace(OK, **{quantity: value}))
        assert one.state_dict() == other.state_dict()

    def test_its_state_is_a_copy(self, quantity: Quantity) -> None:
        detector = fed(noise(50), quantity)
        held = detector.state_dict()
        before = json.dumps(held)
        detector.accept(OK)
        assert json.dumps(held) == before

    def test_a_new_level_is_learnt_after_it_began_anew(self, quantity: Quantity) -> None:
        detector = fed(noise(64), quantity)
        detector.begin_anew()
        assert not is_odd(detector, 50.0, quantity)
        for value in noise(32, around=8.0):
            detector.accept(replace(OK, **{quantity: value}))
        assert not is_odd(detector, 8.3, quantity)
        assert is_odd(detector, 16.0, quantity)

    def test_it_forgets_all_it_has_seen(self, quantity: Quantity) -> None:
        detector = fed(noise(64), quantity, lr=0.1)
        detector.forget()
        assert detector.state_dict() == OddDetector(quantity, SETTINGS, WINDOW).state_dict()


class TestWhatWasLearnt:
    """A rise of less than a hundredth of what was learnt so far is neither odd nor extreme."""

    LONG_AGO = (8.0,) * 16

    def learnt(self, settings: Experiments = SETTINGS) -> OddDetector:
        return fed([*self.LONG_AGO, *noise(200, around=1e-4)], settings=settings)

    def test_a_run_that_has_come_down_may_wander(self) -> None:
        detector = self.learnt()
        for value in (1e-3, 1e-2, 0.07):
            assert not is_odd(detector, value)
            assert not is_extreme(detector, value)
        assert is_odd(detector, 0.09)
        assert is_extreme(detector, 0.09)

    def test_how_much_counts_is_the_policys(self) -> None:
        detector = self.learnt(Experiments(least_harm=0.0))
        assert is_odd(detector, 1e-3)
        assert is_extreme(detector, 1e-2)

    def test_where_nothing_was_learnt_every_rise_counts(self) -> None:
        assert is_odd(fed(noise(200, around=1e-4)), 2e-4)

    def test_what_was_learnt_is_the_first_loss_less_the_best_level(self) -> None:
        levels = self.learnt().levels
        assert levels is not None
        assert levels.learnt == pytest.approx(8.0, rel=1e-3)

    def test_where_it_began_stays_known_when_the_window_begins_anew(self) -> None:
        detector = self.learnt()
        detector.begin_anew()
        for value in noise(64, around=2.0):
            detector.accept(replace(OK, loss=value))
        levels = detector.levels
        assert levels is not None
        assert levels.learnt == pytest.approx(6.0, rel=0.05)


class TestLevels:
    def test_median_and_spread_are_of_the_newest_values_in_the_losses_units(self) -> None:
        levels = fed(
            [*[9.0] * 32, *([4.0, 6.0] * 16)], window=SpikeDetection(window_updates=64, warmup_updates=32)
        ).levels
        assert levels is not None
        assert levels.median == pytest.approx(5.0)
        assert levels.spread == pytest.approx(1.4826)
        assert levels.positive

    def test_where_the_run_began_is_the_median_of_the_first_eight(self) -> None:
        levels = fed([10.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0, 1e6, *[1.0] * 200]).levels
        assert levels is not None
        assert levels.began == 8.0

    def test_one_loss_below_zero_in_the_window_is_enough(self) -> None:
        for value, positive in ((0.1, True), (0.0, False), (-1.0, False)):
            levels = fed([1.0, value, 1.0]).levels
            assert levels is not None
            assert levels.positive is positive

    def test_too_few_values_say_nothing(self) -> None:
        assert fed([]).levels is None
        assert fed([1.0]).levels is None
        assert fed([1.0, 1.0]).levels is not None


class TestGradients:
    def test_a_norm_of_zero_says_that_nothing_was_learnt_and_is_left_out(self) -> None:
        assert fed([0.0] * 40 + [2.0], "grad_norm").state_dict()["window"] == [2.0]
        assert fed([0.0] * 40, "loss").state_dict()["window"] == [0.0] * 40

    FALLEN = (*noise(32, around=50.0), *noise(200, around=0.01))

    def test_one_no_larger_than_those_at_the_start_is_not_odd(self) -> None:
        """Where nearly all is learnt, one hard sample has a gradient of a thousand times the usual."""
        detector = fed(self.FALLEN, "grad_norm")
        assert not is_odd(detector, 48.0, "grad_norm")
        assert is_odd(detector, 55.0, "grad_norm")
        assert is_odd(fed(self.FALLEN, "loss", Experiments(least_harm=0.0)), 48.0)

    def test_an_extreme_one_is_twenty_times_those_at_the_start(self) -> None:
        detector = fed(self.FALLEN, "grad_norm")
        assert not is_extreme(detector, 0.9 * BEYOND_ALL * 50.0, "grad_norm")
        assert is_extreme(detector, 1.1 * BEYOND_ALL * 50.0, "grad_norm")

    def test_the_largest_ever_is_kept_when_the_window_begins_anew_and_goes_with_the_state(self) -> None:
        detector, other = fed(self.FALLEN, "grad_norm"), OddDetector("grad_norm", SETTINGS, WINDOW)
        detector.begin_anew()
        for value in noise(64, around=0.01):
            detector.accept(replace(OK, grad_norm=value))
        other.load_state_dict(json.loads(json.dumps(detector.state_dict())))
        for each in (detector, other):
            assert not is_odd(each, 40.0, "grad_norm")
            assert not is_extreme(each, 900.0, "grad_norm")
        detector.forget()
        for value in noise(64, around=0.01):
            detector.accept(replace(OK, grad_norm=value))
        assert is_extreme(detector, 40.0, "grad_norm")


class TestLossesBelowZero:
    def test_a_jump_is_odd_and_one_thirty_times_as_large_is_extreme(self) -> None:
        detector = fed([-2.0 + value for value in noise(64)])
        assert not is_odd(detector, -0.95)
        assert is_odd(detector, 0.5)
        assert not is_extreme(detector, 20.0)
        assert is_extreme(detector, 60.0)


def test_the_window_begins_anew_with_a_warm_restart() -> None:
    detector = fed(noise(64), lr=0.1)
    for value in noise(32, around=0.2):
        detector.accept(replace(OK, loss=value, lr=0.01))
    assert is_odd(detector, 3.0)
    detector.accept(replace(OK, loss=1.5, lr=0.1))
    assert detector.state_dict()["window"] == [1.5]
    assert not is_odd(detector, 3.0)


def test_a_rate_from_which_the_run_went_back_proves_nothing() -> None:
    detector = fed(noise(40), lr=0.1)
    for each in (1.0, 0.1):
        detector.accept(replace(OK, lr=each))
    detector.restored()
    detector.accept(replace(OK, loss=1.0, lr=1.0))
    assert len(detector.state_dict()["window"]) == 43


def test_a_falling_loss_is_judged_by_where_it_is_now() -> None:
    falling = [8.0 * 0.97**number for number in range(64)]
    detector = fed(falling)
    assert not is_odd(detector, falling[-1])
    assert is_odd(detector, falling[0] / 2)


@given(st.lists(st.floats(-1e6, 1e6), min_size=32, max_size=120), st.floats(-1e9, 1e9), st.sampled_from(QUANTITIES))
def test_what_is_extreme_is_odd_and_what_is_odd_is_above_the_least(
    values: list[float], value: float, quantity: Quantity
) -> None:
    detector = fed(values, quantity)
    assert is_odd(detector, value, quantity) or not is_extreme(detector, value, quantity)
    assert value > min(values) or not is_odd(detector, value, quantity)
