"""Forecasts from plain numbers: what grows steadily is told of once, what ebbs or jumps is not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from supervisor.headroom import Forecast, Headroom, Quantity
from supervisor.policy import HeadroomWatch
from supervisor.records import Observation
from supervisor.signals.headroom import HeadroomDetector

Curve = Callable[[int], float]

WATCH = HeadroomWatch(horizon_updates=300, factor=10.0, window_updates=160, warmup_updates=0, repeat_after_updates=500)


def steady(_update: int) -> float:
    return 2.0


def grows(rate: float, since: int = 0, until: int = 10**9) -> Curve:
    return lambda update: 2.0 * math.exp(rate * max(0, min(update, until) - since))


def check(
    update: int, norm: float = 2.0, largest: float = 0.5, *, limit: float | None = None, energy: float | None = None
) -> Observation:
    seen = Headroom(
        {"w": largest, "b": 0.1},
        {} if limit is None else {"w": limit},
        energy,
        None if energy is None else "w",
        None if energy is None else 1000.0,
    )
    return Observation(update, update, 1.0, 3.0, weight_norms={"w": norm}, headroom=seen)


def told(
    norm: Curve = steady,
    largest: Curve = lambda _: 0.5,
    *,
    until: int = 1000,
    every: int = 10,
    watch: HeadroomWatch = WATCH,
    **more: Any,
) -> list[tuple[int, Forecast]]:
    detector, found = HeadroomDetector(watch), []
    for update in range(every - 1, until, every):
        values = {name: value(update) if callable(value) else value for name, value in more.items()}
        found += [(update, each) for each in detector.accept(check(update, norm(update), largest(update), **values))]
    return found


class TestWeights:
    def test_a_steady_growth_is_told_once_with_its_slope_its_bound_and_its_horizon(self) -> None:
        ((update, forecast),) = told(grows(0.01))
        assert update == 169
        assert (forecast.quantity, forecast.parameter, forecast.others) == (Quantity.WEIGHT_NORM, "w", 0)
        assert forecast.slope == pytest.approx(0.01)
        assert forecast.bound == pytest.approx(10 * grows(0.01)(9))
        assert forecast.horizon == round((math.log(10) - 1.6) / 0.01)

    @pytest.mark.parametrize("since", [300, 305, 340])
    def test_the_bound_is_passed_when_the_horizon_said(self, since: int) -> None:
        norm = grows(0.02, since)
        ((update, forecast),) = told(norm)
        assert update <= since + 110
        left = next(more for more in range(1000) if norm(update + more) >= forecast.bound)
        # Where the growth began within the newer half, its slope is a little more than what was measured.
        assert left - 1 <= forecast.horizon <= 1.2 * left

    def test_the_largest_number_of_a_weight_whose_norm_stays(self) -> None:
        ((_, forecast),) = told(largest=grows(0.02))
        assert (forecast.quantity, forecast.parameter) == (Quantity.LARGEST_WEIGHT, "w")

    def test_a_parameter_that_stays_smaller_than_most_is_not_told_of(self) -> None:
        """A bias that wanders about zero grows tenfold now and then, and adds next to nothing to anything."""

        def found(first: float) -> list[Quantity]:
            detector, told = HeadroomDetector(WATCH), []
            for update in range(9, 400, 10):
                largest = {"bias": first * math.exp(0.01 * update), "one": 0.5, "two": 0.7}
                norms = {"one": 1.0, "two": 1.0}
                seen = Observation(update, update, 1.0, 1.0, weight_norms=norms, headroom=Headroom(largest, {}))
                told += [each.quantity for each in detector.accept(seen)]
            return told

        assert found(0.001) == []
        assert found(0.1) == [Quantity.LARGEST_WEIGHT]

    def test_where_the_norm_was_told_of_its_largest_number_is_not(self) -> None:
        assert [each.quantity for _, each in told(grows(0.02), grows(0.02))] == [Quantity.WEIGHT_NORM]

    @pytest.mark.parametrize(
        "norm",
        [
            steady,
            grows(-0.02),
            lambda update: 2.0 if update < 400 else 12.0,
            lambda update: math.sqrt(1 + update / 10),
            lambda update: 2.0 + math.sin(update / 30),
            lambda update: 0.0,
            grows(0.001),
        ],
        ids=["constant", "falling", "a jump", "a root of the time", "a wave", "zero", "slow"],
    )
    def test_what_does_not_lead_there_is_not_told(self, norm: Curve) -> None:
        assert told(norm) == []

    def test_a_weight_that_began_at_zero_is_not_told_before_it_has_been_followed(self) -> None:
        assert told(lambda update: 0.0 if update < 400 else 1e-3 * (update - 399) ** 0.5) == []

    @pytest.mark.parametrize("power", [1, 2], ids=["linear", "quadratic"])
    @pytest.mark.parametrize("first", [0.0, 1e-3], ids=["from zero", "from little"])
    def test_a_weight_that_is_trained_later_has_a_warm_up_of_its_own(self, first: float, power: int) -> None:
        """As one that is unfrozen amid the run: it grows fast at first, like all weights at the start of a training."""

        def unfrozen(update: int) -> float:
            return first + 1e-3 * max(0, update - 1000) ** power

        assert told(unfrozen, unfrozen, until=3000, watch=HeadroomWatch()) == []
        assert told(unfrozen, unfrozen, until=3000, watch=HeadroomWatch(warmup_updates=0)) != []

    def test_a_weight_that_was_trained_later_is_told_of_once_it_has_warmed_up(self) -> None:
        norm = grows(0.01, 1000)
        ((update, _),) = told(norm, norm, until=3000, watch=HeadroomWatch())
        assert 1390 <= update <= 1420

    def test_a_weight_that_comes_later_has_a_warm_up_of_its_own(self) -> None:
        detector, found = HeadroomDetector(HeadroomWatch()), []
        for update in range(9, 3000, 10):
            held = {"w": 1.0} | ({"later": 1e-3 * (update - 1000)} if update > 1000 else {})
            seen = Observation(update, update, 1.0, 1.0, weight_norms=held, headroom=Headroom(held, {}))
            found += detector.accept(seen)
        assert found == []

    def test_a_growth_that_ended_and_began_again_is_told_again_but_not_soon(self) -> None:
        def twice(again: int) -> Curve:
            return lambda update: grows(0.02, 100, 300)(update) * grows(0.02, again, again + 120)(update)

        first, *_ = told(twice(2000))
        assert first[0] < 300
        assert len(told(twice(500))) == 1
        again = told(twice(900), until=1500)
        assert [update > 900 for update, _ in again] == [False, True]

    def test_a_growth_that_goes_on_is_told_once_however_long(self) -> None:
        assert len(told(grows(0.01), until=20_000)) == 1

    def test_nothing_is_told_while_it_warms_up(self) -> None:
        watch = WATCH.model_copy(update={"warmup_updates": 600})
        assert [update for update, _ in told(grows(0.01), watch=watch)] == [609]

    @pytest.mark.parametrize("every", [1, 7, 10, 25, 50])
    def test_however_the_checks_are_spaced_the_slope_is_by_updates(self, every: int) -> None:
        ((_, forecast),) = told(grows(0.012), every=every)
        assert forecast.slope == pytest.approx(0.012)

    def test_of_several_that_begin_at_once_the_soonest_is_named_and_the_others_counted(self) -> None:
        detector, found = HeadroomDetector(WATCH), []
        for update in range(9, 400, 10):
            norms = {"slow": grows(0.01)(update), "fast": grows(0.012)(update), "still": 1.0}
            seen = Observation(update, update, 1.0, 1.0, weight_norms=norms, headroom=Headroom({}, {}))
            found += detector.accept(seen)
        assert [(each.parameter, each.others) for each in found] == [("fast", 1)]


class TestHalfRange:
    def test_the_bound_is_what_the_type_holds(self) -> None:
        found = [
            (update, each)
            for update, each in told(grows(0.03), grows(0.03), limit=65504.0, until=400)
            if each.quantity is Quantity.HALF_RANGE
        ]
        ((update, forecast),) = found
        assert forecast.bound == 65504.0
        assert forecast.bits == pytest.approx(math.log2(65504 / forecast.value))
        assert grows(0.03)(update + forecast.horizon) == pytest.approx(65504, rel=0.03)

    @pytest.mark.parametrize("horizon", [300, 1_000_000])
    def test_however_far_one_looks_ahead(self, horizon: int) -> None:
        watch = WATCH.model_copy(update={"horizon_updates": horizon})
        found = told(largest=lambda update: 1e-30 * math.exp(0.2 * update), limit=65504.0, until=250, watch=watch)
        assert [each.quantity for _, each in found] == [Quantity.HALF_RANGE]

    def test_one_that_is_far_away_is_not_told_of(self) -> None:
        found = told(grows(0.001), grows(0.001), limit=65504.0)
        assert found == []


class TestGradients:
    def test_their_growth_is_told_by_the_second_moments(self) -> None:
        # Gradients that grow by `s` an update are 1 + 2 s m times the moments: here s is 0.01.
        ((_, forecast),) = told(energy=21.0)
        assert (forecast.quantity, forecast.parameter) == (Quantity.GRADIENT_NORM, "w")
        assert forecast.slope == pytest.approx(0.01)
        assert (forecast.value, forecast.bound) == (3.0, 30.0)
        assert forecast.horizon == 230

    @pytest.mark.parametrize("times", [2.0, 6.0, 10.0, 30.0, 1000.0])
    @pytest.mark.parametrize("beta2", [0.9, 0.95, 0.999])
    @pytest.mark.parametrize("at", [400, 403, 409])
    def test_gradients_that_jump_and_stay_are_not_told(self, times: float, beta2: float, at: int) -> None:
        """As where the loss is weighted otherwise from some update on: the moments catch up."""
        detector, found = HeadroomDetector(HeadroomWatch(warmup_updates=0)), []
        for update in range(9, 1000, 10):
            size = times**2 if update >= at else 1.0
            moment = 1.0 + (times**2 - 1) * (1 - beta2 ** max(0, update + 1 - at))
            seen = check(update, energy=size / moment)
            assert seen.headroom is not None
            memory = replace(seen.headroom, memory_updates=1 / (1 - beta2))
            found += detector.accept(replace(seen, headroom=memory))
        assert found == []

    @pytest.mark.parametrize("energy", [None, 0.5, 1.0, 3.0, lambda update: 500.0 if update % 80 == 9 else 1.0])
    def test_gradients_that_are_as_usual_or_large_now_and_then_are_not_told(self, energy: Any) -> None:
        assert told(energy=energy) == []


class TestMemory:
    def test_it_goes_on_alike_from_a_state_that_went_through_json(self) -> None:
        norm, largest = grows(0.01, 300), grows(-0.02, 500)
        for cut in range(20, 900, 60):
            whole, first = HeadroomDetector(WATCH), HeadroomDetector(WATCH)
            expected, found = [], []
            for update in range(9, 1500, 10):
                seen = check(update, norm(update), largest(update), energy=21.0 if update > 700 else 1.0)
                expected.append(whole.accept(seen))
                if update > cut:
                    state = json.loads(json.dumps(first.state_dict()))
                    first, cut = HeadroomDetector(WATCH), 10**9
                    first.load_state_dict(state)
                    assert first.state_dict() == state
                found.append(first.accept(seen))
            assert found == expected
            assert sum(map(len, expected)) == 2

    def test_after_a_reload_what_was_told_stays_told(self) -> None:
        detector = HeadroomDetector(WATCH)
        for update in range(9, 100, 10):
            detector.accept(check(update, grows(0.01)(update)))
        before = json.loads(json.dumps(detector.state_dict()))
        found = [each for update in range(109, 260, 10) for each in detector.accept(check(update, grows(0.01)(update)))]
        assert len(found) == 1
        detector.load_state_dict(before)
        detector.restored()
        later = range(269, 269 + WATCH.repeat_after_updates - 110, 10)
        assert [each for update in later for each in detector.accept(check(update, grows(0.01)(update)))] == []

    def test_weights_that_were_redrawn_are_followed_from_their_beginning(self) -> None:
        detector = HeadroomDetector(WATCH)
        for update in range(9, 150, 10):
            detector.accept(check(update, grows(0.01)(update)))
        detector.forget()
        assert detector.accept(check(159, grows(0.01)(159))) == ()
        assert detector.accept(check(169, grows(0.01)(169))) == ()

    def test_an_update_without_a_check_changes_nothing(self) -> None:
        detector = HeadroomDetector(WATCH)
        before = detector.state_dict()
        assert detector.accept(Observation(3, 3, 1.0, 1.0)) == ()
        assert detector.state_dict() == before
