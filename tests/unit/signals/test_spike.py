"""The spike detectors: sharp after any fault, silent while they know too little, and fed with healthy values only."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.policy import RecoveryPolicy, load_policy
from supervisor.records import Observation, SignalName
from supervisor.signals import Detectors
from supervisor.signals.baseline import Baseline
from supervisor.signals.spike import LEAST_SPREAD, REFRESH_UPDATES, SpikeDetector

SPIKE = {"window_updates": 32, "threshold": 8.0, "warmup_updates": 16}


def counting(policy: dict[str, Any]) -> RecoveryPolicy:
    """A policy without experiments: with them, a spike is only a suspicion, and another detector has it."""
    return load_policy({**policy, "experiments": None})


POLICY = counting({"detect": {"spike": SPIKE}})

EDGE = math.exp(8.0 * LEAST_SPREAD["loss"])
"""How many times the median of a constant window a value must be to score 8."""

OK = Observation(step=0, update=0, loss=1.0, grad_norm=1.0)


def names(detectors: Detectors, **numbers: Any) -> list[SignalName]:
    return [signal.name for signal in detectors.inspect(replace(OK, **numbers))]


def noise(count: int, seed: int = 0) -> list[float]:
    draw = random.Random(seed)
    return [math.exp(draw.gauss(0, 0.1)) for _ in range(count)]


def fed(values: Iterable[float], policy: RecoveryPolicy = POLICY) -> Detectors:
    detectors = Detectors(policy)
    for value in values:
        detectors.accept(replace(OK, loss=value, grad_norm=value))
    return detectors


def window(detectors: Detectors, name: str = "loss_spike") -> list[float]:
    held: list[float] = detectors.state_dict()[name]["window"]
    return held


def test_a_value_far_above_the_window_is_a_spike_and_says_the_numbers() -> None:
    detectors = fed(noise(32))
    (signal,) = detectors.inspect(replace(OK, loss=50.0))
    assert signal.name is SignalName.LOSS_SPIKE
    assert signal.details["loss"] == 50.0
    assert signal.details["median"] == pytest.approx(1.0, rel=0.1)
    assert float(signal.details["score"]) > 8  # type: ignore[arg-type]
    (signal,) = detectors.inspect(replace(OK, grad_norm=50.0))
    assert signal.name is SignalName.GRADIENT_SPIKE
    assert signal.details["grad_norm"] == 50.0


def test_the_score_is_the_one_described() -> None:
    # Four values twice, so that both halves have the same median and the line through them is level.
    logs = [0.0, 1.0, 2.0, 5.0] * 4
    detectors = fed(math.exp(x) for x in logs)
    edge = 1.5 + 8 * 1.4826 * 1.0  # the middle of the distances 0.5, 0.5, 1.5, 3.5
    assert names(detectors, loss=math.exp(edge - 1e-6)) == []
    (signal,) = detectors.inspect(replace(OK, loss=math.exp(edge + 1e-6)))
    assert signal.details["score"] == pytest.approx(8.0, abs=1e-4)
    assert signal.details["median"] == pytest.approx(math.exp(1.5))


def test_a_steady_trend_is_no_spread() -> None:
    """A rise that the window shows is expected to go on; what leaves the line counts as it would without a trend."""
    detectors = fed(math.exp(0.1 * i) for i in range(16))
    edge = math.exp(1.5 + 0.1 * REFRESH_UPDATES) * EDGE
    assert names(detectors, loss=edge * 0.99) == []
    assert names(detectors, loss=edge * 1.01) == [SignalName.LOSS_SPIKE]


def test_a_falling_loss_is_judged_by_where_it_is_now() -> None:
    falling = [math.exp(-0.05 * i + 0.05 * (-1) ** i) for i in range(32)]
    detectors = fed(falling, counting({"detect": {"spike": {**SPIKE, "threshold": 4.0}}}))
    assert falling[-1] * 10 < max(falling) * 2.5  # a window without a line would call it ordinary
    detectors = fed(falling, counting({"detect": {"spike": {**SPIKE, "threshold": 4.0, "margin": 1.0}}}))
    assert names(detectors, loss=falling[-1] * 10) == [SignalName.LOSS_SPIKE]


def test_a_spike_is_larger_than_anything_healthy() -> None:
    values = [1.0] * 31 + [4.0]
    assert names(fed(values), loss=9.9) == []
    assert names(fed(values), loss=10.1) == [SignalName.LOSS_SPIKE]
    wider = counting({"detect": {"spike": {**SPIKE, "margin": 4.0}}})
    assert names(fed(values, wider), loss=15.9) == []
    assert names(fed(values, wider), loss=16.1) == [SignalName.LOSS_SPIKE]


def test_twice_the_margin_is_asked_of_a_gradient_norm() -> None:
    detectors = fed([1.0] * 31 + [2.4], counting({"detect": {"spike": {**SPIKE, "threshold": 1.0}}}))
    assert names(detectors, loss=6.1, grad_norm=11.9) == [SignalName.LOSS_SPIKE]
    assert names(detectors, loss=5.9, grad_norm=12.1) == [SignalName.GRADIENT_SPIKE]


def test_a_low_value_is_no_spike() -> None:
    assert names(fed(noise(32)), loss=1e-9, grad_norm=1e-9) == []


def test_a_constant_window_does_not_make_every_wobble_a_spike() -> None:
    detectors = fed([1.0] * 32)
    assert names(detectors, loss=EDGE * 0.99) == []
    assert names(detectors, loss=EDGE * 1.01) == [SignalName.LOSS_SPIKE]


def test_it_is_silent_until_the_warm_up_is_over() -> None:
    assert names(fed(noise(15)), loss=1e30) == []
    assert names(fed(noise(16)), loss=1e30) == [SignalName.LOSS_SPIKE]


def test_gradient_norms_of_zero_count_for_nothing() -> None:
    detectors = fed([*noise(15), *[0.0] * 20])
    assert len(window(detectors, "gradient_spike")) == 15
    assert SignalName.GRADIENT_SPIKE not in names(detectors, grad_norm=1e17)


class TestLossesBelowZero:
    """A negative log-likelihood: no logarithm, and the same guard."""

    LIKELIHOODS = tuple(-2.0 + 0.1 * math.log(value) for value in noise(32))

    def test_a_jump_far_above_is_a_spike(self) -> None:
        detectors = fed(self.LIKELIHOODS)
        assert names(detectors, loss=18.0) == [SignalName.LOSS_SPIKE]
        assert names(detectors, loss=0.5) == []

    def test_a_better_loss_is_none(self) -> None:
        assert names(fed(self.LIKELIHOODS), loss=-200.0) == []

    def test_a_loss_on_its_way_through_zero_is_guarded_throughout(self) -> None:
        for end in (0.5, 0.0, -0.5, -2.0):
            detectors = fed([end + 2.0 - 2.0 * i / 31 for i in range(32)])
            assert names(detectors, loss=end + 0.1) == []
            assert names(detectors, loss=end + 50.0) == [SignalName.LOSS_SPIKE]

    def test_a_loss_that_is_exactly_zero_says_nothing_about_size(self) -> None:
        detectors = fed([0.0] * 32)
        assert names(detectors, loss=1e-6) == names(detectors, loss=1e6) == []

    def test_a_loss_that_is_mostly_zero_is_judged_by_what_it_was_at_most(self) -> None:
        detectors = fed([*[0.0] * 31, 0.5])
        assert names(detectors, loss=1.2) == []
        assert names(detectors, loss=50.0) == [SignalName.LOSS_SPIKE]


@pytest.mark.parametrize("value", [0.0, -5.0, math.nan, math.inf, -math.inf])
def test_values_without_a_logarithm_are_no_spikes(value: float) -> None:
    detectors = fed(noise(32))
    spikes = {SignalName.LOSS_SPIKE, SignalName.GRADIENT_SPIKE, SignalName.DIVERGENCE}
    assert not spikes & set(names(detectors, loss=value, grad_norm=value))


def test_spike_detection_can_be_turned_off() -> None:
    detectors = fed(noise(64), counting({"detect": {"spike": None}}))
    assert names(detectors, loss=1e30, grad_norm=1e17) == []
    assert "loss_spike" not in detectors.state_dict()


class TestStatisticsStayClean:
    BAD = (
        {"loss": math.nan, "grad_norm": math.nan, "gradient_elements_finite": False},
        {"loss": math.inf},
        {"loss": 1e30},
        {"grad_norm": math.inf, "gradient_max_abs": 1e30},
        {"exception": "ValueError: no", "loss": math.nan, "grad_norm": math.nan},
    )

    @pytest.mark.parametrize("numbers", BAD)
    def test_a_flagged_value_enters_no_window(self, numbers: dict[str, Any]) -> None:
        detectors = fed(noise(32))
        before = [window(detectors), window(detectors, "gradient_spike")]
        for _ in range(100):
            detectors.flagged(replace(OK, **numbers))
        assert [window(detectors), window(detectors, "gradient_spike")] == before

    @pytest.mark.parametrize("numbers", BAD)
    def test_it_is_as_sharp_after_a_fault_as_before(self, numbers: dict[str, Any]) -> None:
        detectors, untouched = fed(noise(32)), fed(noise(32))
        detectors.flagged(replace(OK, **numbers))
        detectors.accept(replace(OK, loss=1.01))
        untouched.accept(replace(OK, loss=1.01))
        for loss in (0.9, 1.5, 2.0, 2.5, 3.0, 10.0):
            assert detectors.inspect(replace(OK, loss=loss)) == untouched.inspect(replace(OK, loss=loss))
        assert names(detectors, loss=10.0) == [SignalName.LOSS_SPIKE]

    def test_even_an_accepted_nan_enters_no_window(self) -> None:
        detectors = fed([*noise(32), math.nan, math.inf])
        assert all(math.isfinite(x) for x in window(detectors))
        assert names(detectors, loss=50.0) == [SignalName.LOSS_SPIKE]

    def test_looking_changes_nothing(self) -> None:
        detectors = fed(noise(32))
        before = detectors.state_dict()
        for loss in (1.0, 50.0, math.nan):
            detectors.inspect(replace(OK, loss=loss))
        assert detectors.state_dict() == before

    def test_batches_that_come_again_feed_nothing(self) -> None:
        detectors = fed(noise(32))
        before = detectors.state_dict()
        detectors.accept(replace(OK, loss=1.1, replayed=True))
        detectors.flagged(replace(OK, loss=50.0, replayed=True))
        assert detectors.state_dict() == before

    def test_detectors_that_forget_warm_up_anew(self) -> None:
        detectors = fed(noise(32))
        detectors.flagged(replace(OK, loss=50.0))
        detectors.forget()
        rates = detectors.state_dict()["odd_rate"]
        assert detectors.state_dict() == {**Detectors(POLICY).state_dict(), "odd_rate": rates}
        assert names(detectors, loss=1e17) == []

    def test_the_window_slides(self) -> None:
        detectors = fed([1.0] * 32)
        for _ in range(32):
            detectors.accept(replace(OK, loss=1.4, grad_norm=1.0))
        assert window(detectors) == [1.4] * 32
        assert names(detectors, loss=1.4 * EDGE * 0.99) == []
        assert names(detectors, loss=1.4 * EDGE * 1.01) == [SignalName.LOSS_SPIKE]


class TestDivergence:
    def test_the_second_spike_in_a_row_is_divergence(self) -> None:
        detectors = fed(noise(32))
        assert names(detectors, loss=50.0) == [SignalName.LOSS_SPIKE]
        detectors.flagged(replace(OK, loss=50.0))
        (signal,) = detectors.inspect(replace(OK, loss=60.0))
        assert signal.name is SignalName.DIVERGENCE
        assert signal.details["loss"] == 60.0

    def test_a_healthy_step_between_two_spikes_makes_them_two_spikes(self) -> None:
        detectors = fed(noise(32))
        detectors.flagged(replace(OK, loss=50.0))
        detectors.accept(OK)
        assert names(detectors, loss=50.0) == [SignalName.LOSS_SPIKE]

    def test_another_fault_between_is_no_spike(self) -> None:
        detectors = fed(noise(32))
        detectors.flagged(replace(OK, loss=50.0))
        detectors.flagged(replace(OK, loss=math.nan))
        assert names(detectors, loss=50.0) == [SignalName.LOSS_SPIKE]

    def test_each_quantity_diverges_for_itself(self) -> None:
        detectors = fed(noise(32))
        detectors.flagged(replace(OK, loss=50.0))
        assert names(detectors, grad_norm=50.0) == [SignalName.GRADIENT_SPIKE]
        assert names(detectors, loss=50.0, grad_norm=50.0) == [SignalName.DIVERGENCE, SignalName.GRADIENT_SPIKE]

    def test_divergence_of_the_gradient_is_named_before_a_spike_of_the_loss(self) -> None:
        detectors = fed(noise(32))
        detectors.flagged(replace(OK, grad_norm=50.0))
        assert names(detectors, loss=50.0, grad_norm=50.0, sanitized=1) == [
            SignalName.DIVERGENCE,
            SignalName.LOSS_SPIKE,
            SignalName.SANITIZED_VALUES,
        ]

    def test_spikes_that_are_only_observed_still_become_divergence(self) -> None:
        # Observed spikes count as healthy, so they are accepted; that the spike goes on must be noticed all the same.
        detectors = fed(noise(32), counting({"detect": {"spike": SPIKE}, "reactions": {"loss_spike": "observe"}}))
        detectors.accept(replace(OK, loss=50.0))
        assert names(detectors, loss=60.0) == [SignalName.DIVERGENCE]
        detectors.accept(replace(OK, loss=1.0))
        assert names(detectors, loss=60.0) == [SignalName.LOSS_SPIKE]

    def test_the_same_batch_again_is_no_other_batch(self) -> None:
        detectors = fed(noise(32))
        detectors.flagged(replace(OK, loss=50.0))
        assert names(detectors, loss=50.0, replayed=True) == [SignalName.LOSS_SPIKE]

    def test_a_spike_on_a_state_that_was_put_back_is_the_datas_doing(self) -> None:
        detectors = fed(noise(32))
        detectors.flagged(replace(OK, loss=50.0))
        before = window(detectors)
        detectors.restored()
        assert window(detectors) == before
        assert names(detectors, loss=50.0) == [SignalName.LOSS_SPIKE]

    def test_an_observed_spike_stays_out_and_an_observed_new_level_is_followed(self) -> None:
        detectors = fed(noise(32))
        detectors.accept(replace(OK, loss=50.0))
        assert 50.0 not in window(detectors)
        for _ in range(64):
            detectors.accept(replace(OK, loss=50.0))
        assert names(detectors, loss=60.0) == []


class TestLearningRate:
    """A warm restart lifts the loss as planned; a rate that was never in use before explains nothing."""

    CYCLE = tuple(0.1 * (1 + math.cos(math.pi * i / 64)) / 2 for i in range(64))

    def after_a_cycle(self, next_rate: float) -> Detectors:
        detectors = Detectors(POLICY)
        for rate in self.CYCLE:
            detectors.accept(replace(OK, lr=rate))
        detectors.accept(replace(OK, lr=next_rate))
        return detectors

    def test_the_window_begins_anew_with_a_warm_restart(self) -> None:
        detectors = self.after_a_cycle(0.1)
        assert len(window(detectors)) == len(window(detectors, "gradient_spike")) == 1
        assert names(detectors, loss=100.0) == []
        for _ in range(15):
            detectors.accept(replace(OK, loss=30.0, lr=0.1))
        assert names(detectors, loss=100.0) == []
        assert names(detectors, loss=300.0) == [SignalName.LOSS_SPIKE]

    def test_a_rate_beyond_all_before_is_no_restart(self) -> None:
        detectors = self.after_a_cycle(1.0)
        assert len(window(detectors)) == 32
        assert names(detectors, loss=100.0) == [SignalName.LOSS_SPIKE]

    def test_a_jump_that_the_run_went_back_from_is_no_restart_the_second_time(self) -> None:
        detectors = self.after_a_cycle(1.0)
        detectors.restored()
        detectors.accept(replace(OK, lr=0.1))
        detectors.accept(replace(OK, lr=1.0))
        assert len(window(detectors)) == 32
        assert names(detectors, loss=100.0) == [SignalName.LOSS_SPIKE]

    def test_a_warm_up_is_no_restart(self) -> None:
        detectors = Detectors(POLICY)
        for number in range(32):
            detectors.accept(replace(OK, lr=1e-6 * 1.4**number))
        assert len(window(detectors)) == 32

    def test_a_rate_that_is_not_known_changes_nothing(self) -> None:
        assert len(window(fed([1.0] * 32))) == 32


class TestState:
    def test_the_layout_of_an_older_version_starts_afresh(self) -> None:
        detectors = Detectors(POLICY)
        older = {"window": [0.0] * 32, "spiked": True}
        detectors.load_state_dict({"loss_spike": older, "gradient_spike": older})
        rates = detectors.state_dict()["odd_rate"]
        assert detectors.state_dict() == {**Detectors(POLICY).state_dict(), "odd_rate": rates}

    def test_another_threshold_counts_at_once(self) -> None:
        detectors = Detectors(counting({"detect": {"spike": {**SPIKE, "threshold": 30.0}}}))
        detectors.load_state_dict(fed(noise(32)).state_dict())
        assert names(detectors, loss=50.0) == []

    def test_it_survives_json_and_goes_on_alike(self) -> None:
        detectors = fed(noise(40))
        detectors.flagged(replace(OK, loss=50.0))
        back = Detectors(POLICY)
        back.load_state_dict(json.loads(json.dumps(detectors.state_dict())))
        assert back.state_dict() == detectors.state_dict()
        assert names(back, loss=50.0) == [SignalName.DIVERGENCE]
        for value in noise(40, seed=1):
            for each in (detectors, back):
                each.accept(replace(OK, loss=value))
        assert back.state_dict() == detectors.state_dict()

    def test_it_is_a_copy(self) -> None:
        detectors = fed(noise(20))
        saved = detectors.state_dict()
        detectors.accept(OK)
        assert len(saved["loss_spike"]["window"]) == 20
        back = Detectors(POLICY)
        back.load_state_dict(saved)
        back.accept(OK)
        assert len(saved["loss_spike"]["window"]) == 20

    def test_a_shorter_window_keeps_the_newest_values(self) -> None:
        detectors = fed(noise(32))
        short = Detectors(counting({"detect": {"spike": {"window_updates": 4, "warmup_updates": 4}}}))
        short.load_state_dict(detectors.state_dict())
        assert window(short) == window(detectors)[-4:]

    def test_detectors_that_are_new_start_afresh(self) -> None:
        off = Detectors(counting({"detect": {"spike": None}}))
        detectors = Detectors(POLICY)
        detectors.load_state_dict(off.state_dict())
        assert window(detectors) == []
        off.load_state_dict(fed(noise(32)).state_dict())
        assert "loss_spike" not in off.state_dict()


VALUES = st.one_of(st.floats(1e-3, 1e3), st.sampled_from([math.nan, math.inf, 1e30, 0.0, -1.0]))


@given(st.lists(st.tuples(VALUES, VALUES, st.booleans(), st.booleans()), max_size=80))
def test_the_window_holds_the_newest_accepted_values_and_no_other(
    seen: list[tuple[float, float, bool, bool]],
) -> None:
    detectors = Detectors(POLICY)
    expected: list[float] = []
    for loss, grad_norm, replayed, exception in seen:
        observation = replace(
            OK, loss=loss, grad_norm=grad_norm, replayed=replayed, exception="E: e" if exception else None
        )
        if detectors.inspect(observation):
            detectors.flagged(observation)
        else:
            detectors.accept(observation)
            if not replayed and math.isfinite(loss):
                expected.append(loss)
    assert window(detectors) == expected[-32:]


LOSSES = st.lists(st.floats(-50, 50, allow_nan=False), min_size=20, max_size=60)


@given(LOSSES, st.floats(-1e4, 1e4), st.integers(-20, 20), st.booleans())
def test_the_score_does_not_depend_on_the_unit(values: list[float], last: float, power: int, positive: bool) -> None:
    """Scaling by a power of two is exact, so that equal scores may be demanded of linear units to the bit."""
    scale = 2.0**power
    values = [abs(v) + 1e-3 if positive else v for v in values]
    here, there = Detectors(POLICY), Detectors(POLICY)
    for value in values:
        here.accept(replace(OK, loss=value))
        there.accept(replace(OK, loss=value * scale))
    signals = here.inspect(replace(OK, loss=last)), there.inspect(replace(OK, loss=last * scale))
    if signals[0] and float(signals[0][0].details["score"]) < 8.0001:  # type: ignore[arg-type]
        return  # on the edge itself the rounding of logarithms decides
    assert [s.name for s in signals[0]] == [s.name for s in signals[1]]
    for one, other in zip(*signals, strict=True):
        assert one.details["score"] == pytest.approx(other.details["score"], rel=1e-6)


@given(
    st.lists(st.floats(1e-2, 1e2), min_size=16, max_size=60),
    st.lists(st.one_of(st.sampled_from([math.nan, math.inf, -math.inf, 1e30]), st.floats(-1e6, 1e6)), max_size=9),
    st.lists(st.floats(1e-2, 1e4), min_size=1, max_size=40),
)
def test_a_flagged_value_never_changes_a_later_verdict(
    before: list[float], flagged: list[float], after: list[float]
) -> None:
    touched, untouched = fed(before), fed(before)
    for value in flagged:
        touched.flagged(replace(OK, loss=value, grad_norm=value, weight_norms={"w": 1.0}))
    for detectors in (touched, untouched):
        detectors.accept(OK)
    for value in after:
        observation = replace(OK, loss=value, grad_norm=value)
        found = [detectors.inspect(observation) for detectors in (touched, untouched)]
        assert found[0] == found[1]
        for detectors in (touched, untouched):
            (detectors.flagged if found[0] else detectors.accept)(observation)


@given(st.lists(st.tuples(st.floats(-5, 1e3), st.floats(1e-3, 1e3), st.booleans()), max_size=120), st.integers(0, 119))
def test_detectors_that_were_saved_and_loaded_give_the_same_verdicts(
    seen: list[tuple[float, float, bool]], cut: int
) -> None:
    detectors, other = Detectors(POLICY), Detectors(POLICY)
    for number, (loss, grad_norm, checked) in enumerate(seen):
        norms = {"w": grad_norm} if checked else None
        observation = replace(OK, update=number, loss=loss, grad_norm=grad_norm, lr=grad_norm, weight_norms=norms)
        if number == cut:
            other = Detectors(POLICY)
            other.load_state_dict(json.loads(json.dumps(detectors.state_dict())))
        found = detectors.inspect(observation)
        assert number < cut or other.inspect(observation) == found
        for each in (detectors, other) if number >= cut else (detectors,):
            (each.flagged if found else each.accept)(observation)
    assert len(seen) <= cut or other.state_dict() == detectors.state_dict()


@pytest.mark.parametrize("quantity", ["loss", "grad_norm"])
def test_a_detector_watches_the_quantity_it_is_made_for(quantity: Any) -> None:
    assert POLICY.detect.spike is not None
    detector = SpikeDetector(quantity, POLICY.detect.spike)
    for value in noise(32):
        detector.accept(replace(OK, **{quantity: value}))
    other = "grad_norm" if quantity == "loss" else "loss"
    assert detector.inspect(replace(OK, **{other: 1e6})) is None
    found = detector.inspect(replace(OK, **{quantity: 1e6}))
    assert found is not None
    assert found.details[quantity] == 1e6


@given(st.lists(st.floats(-1.0, 1e3), min_size=16, max_size=120), st.integers(0, 119))
def test_what_it_compares_with_is_the_baseline_of_its_window(values: list[float], cut: int) -> None:
    """Whatever it keeps beside the window to be quick, and from whatever state it went on."""
    assert POLICY.detect.spike is not None
    detector = SpikeDetector("loss", POLICY.detect.spike)
    for number, value in enumerate(values):
        if number == cut:
            saved, detector = detector.state_dict(), SpikeDetector("loss", POLICY.detect.spike)
            detector.load_state_dict(saved)
        detector.accept(replace(OK, loss=value))
        state = detector.state_dict()
        if state["since_refresh"] == 0 and state["baseline"] is not None:
            plain = Baseline.of(state["window"], quiet=LEAST_SPREAD["loss"], ahead=REFRESH_UPDATES)
            assert state["baseline"] == list(plain)


@pytest.mark.parametrize("quantity", ["loss", "grad_norm"])
@given(
    start=st.floats(-3.0, 3.0),
    steps=st.lists(
        st.tuples(st.floats(-0.4, 0.4), st.sampled_from([1.0] * 12 + [1.5, 3.0, 30.0, -1.0, 0.0]), st.booleans()),
        min_size=20,
        max_size=90,
    ),
)
def test_a_baseline_that_is_found_when_it_is_asked_for_is_the_one_of_its_refresh(
    quantity: Any, start: float, steps: list[tuple[float, float, bool]]
) -> None:
    """One detector is asked for all that it knows after every update, the other never."""
    policy = counting({"detect": {"spike": {"window_updates": 24, "threshold": 3.5, "warmup_updates": 8}}})
    assert policy.detect.spike is not None
    lazy, eager = SpikeDetector(quantity, policy.detect.spike), SpikeDetector(quantity, policy.detect.spike)
    level = start
    for number, (drift, factor, flagged) in enumerate(steps):
        level += drift
        value = math.exp(level) * factor
        seen = Observation(number, number, value, value, lr=0.1)
        assert lazy.inspect(seen) == eager.inspect(seen)
        for detector in (lazy, eager):
            if flagged and factor > 2:
                detector.flagged(seen)
            else:
                detector.accept(seen)
        eager.state_dict()
    assert lazy.state_dict() == eager.state_dict()
