"""The spike detectors: sharp after any fault, silent while they know too little, and fed with healthy values only."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.policy import RecoveryPolicy, load_policy
from supervisor.records import Observation, SignalName
from supervisor.signals import DetectorPanel
from supervisor.signals.spike import LEAST_SPREAD, REFRESH_UPDATES

SPIKE = {"window_updates": 32, "threshold": 8.0, "warmup_updates": 16}
POLICY = load_policy({"detect": {"spike": SPIKE}})

EDGE = math.exp(8.0 * LEAST_SPREAD["loss"])
"""How many times the median of a constant window a value must be to score 8."""

OK = Observation(step=0, update=0, loss=1.0, grad_norm=1.0)


def names(panel: DetectorPanel, **numbers: Any) -> list[SignalName]:
    return [signal.name for signal in panel.inspect(replace(OK, **numbers))]


def noise(count: int, seed: int = 0) -> list[float]:
    draw = random.Random(seed)
    return [math.exp(draw.gauss(0, 0.1)) for _ in range(count)]


def fed(values: Iterable[float], policy: RecoveryPolicy = POLICY) -> DetectorPanel:
    panel = DetectorPanel(policy)
    for value in values:
        panel.accept(replace(OK, loss=value, grad_norm=value))
    return panel


def window(panel: DetectorPanel, name: str = "loss_spike") -> list[float]:
    held: list[float] = panel.state_dict()[name]["window"]
    return held


def test_a_value_far_above_the_window_is_a_spike_and_says_the_numbers() -> None:
    panel = fed(noise(32))
    (signal,) = panel.inspect(replace(OK, loss=50.0))
    assert signal.name is SignalName.LOSS_SPIKE
    assert signal.details["loss"] == 50.0
    assert signal.details["median"] == pytest.approx(1.0, rel=0.1)
    assert float(signal.details["score"]) > 8  # type: ignore[arg-type]
    (signal,) = panel.inspect(replace(OK, grad_norm=50.0))
    assert signal.name is SignalName.GRADIENT_SPIKE
    assert signal.details["grad_norm"] == 50.0


def test_the_score_is_the_one_described() -> None:
    # Four values twice, so that both halves have the same median and the line through them is level.
    logs = [0.0, 1.0, 2.0, 5.0] * 4
    panel = fed(math.exp(x) for x in logs)
    edge = 1.5 + 8 * 1.4826 * 1.0  # the middle of the distances 0.5, 0.5, 1.5, 3.5
    assert names(panel, loss=math.exp(edge - 1e-6)) == []
    (signal,) = panel.inspect(replace(OK, loss=math.exp(edge + 1e-6)))
    assert signal.details["score"] == pytest.approx(8.0, abs=1e-4)
    assert signal.details["median"] == pytest.approx(math.exp(1.5))


def test_a_steady_trend_is_no_spread() -> None:
    """A rise that the window shows is expected to go on; what leaves the line counts as it would without a trend."""
    panel = fed(math.exp(0.1 * i) for i in range(16))
    edge = math.exp(1.5 + 0.1 * REFRESH_UPDATES) * EDGE
    assert names(panel, loss=edge * 0.99) == []
    assert names(panel, loss=edge * 1.01) == [SignalName.LOSS_SPIKE]


def test_a_falling_loss_is_judged_by_where_it_is_now() -> None:
    falling = [math.exp(-0.05 * i + 0.05 * (-1) ** i) for i in range(32)]
    panel = fed(falling, load_policy({"detect": {"spike": {**SPIKE, "threshold": 4.0}}}))
    assert falling[-1] * 10 < max(falling) * 2.5  # a window without a line would call it ordinary
    panel = fed(falling, load_policy({"detect": {"spike": {**SPIKE, "threshold": 4.0, "margin": 1.0}}}))
    assert names(panel, loss=falling[-1] * 10) == [SignalName.LOSS_SPIKE]


def test_a_spike_is_larger_than_anything_healthy() -> None:
    values = [1.0] * 31 + [4.0]
    assert names(fed(values), loss=9.9) == []
    assert names(fed(values), loss=10.1) == [SignalName.LOSS_SPIKE]
    wider = load_policy({"detect": {"spike": {**SPIKE, "margin": 4.0}}})
    assert names(fed(values, wider), loss=15.9) == []
    assert names(fed(values, wider), loss=16.1) == [SignalName.LOSS_SPIKE]


def test_twice_the_margin_is_asked_of_a_gradient_norm() -> None:
    panel = fed([1.0] * 31 + [2.4], load_policy({"detect": {"spike": {**SPIKE, "threshold": 1.0}}}))
    assert names(panel, loss=6.1, grad_norm=11.9) == [SignalName.LOSS_SPIKE]
    assert names(panel, loss=5.9, grad_norm=12.1) == [SignalName.GRADIENT_SPIKE]


def test_a_low_value_is_no_spike() -> None:
    assert names(fed(noise(32)), loss=1e-9, grad_norm=1e-9) == []


def test_a_constant_window_does_not_make_every_wobble_a_spike() -> None:
    panel = fed([1.0] * 32)
    assert names(panel, loss=EDGE * 0.99) == []
    assert names(panel, loss=EDGE * 1.01) == [SignalName.LOSS_SPIKE]


def test_it_is_silent_until_the_warm_up_is_over() -> None:
    assert names(fed(noise(15)), loss=1e30) == []
    assert names(fed(noise(16)), loss=1e30) == [SignalName.LOSS_SPIKE]


def test_gradient_norms_of_zero_count_for_nothing() -> None:
    panel = fed([*noise(15), *[0.0] * 20])
    assert len(window(panel, "gradient_spike")) == 15
    assert SignalName.GRADIENT_SPIKE not in names(panel, grad_norm=1e17)


class TestLossesBelowZero:
    """A negative log-likelihood: no logarithm, and the same guard."""

    LIKELIHOODS = tuple(-2.0 + 0.1 * math.log(value) for value in noise(32))

    def test_a_jump_far_above_is_a_spike(self) -> None:
        panel = fed(self.LIKELIHOODS)
        assert names(panel, loss=18.0) == [SignalName.LOSS_SPIKE]
        assert names(panel, loss=0.5) == []

    def test_a_better_loss_is_none(self) -> None:
        assert names(fed(self.LIKELIHOODS), loss=-200.0) == []

    def test_a_loss_on_its_way_through_zero_is_guarded_throughout(self) -> None:
        for end in (0.5, 0.0, -0.5, -2.0):
            panel = fed([end + 2.0 - 2.0 * i / 31 for i in range(32)])
            assert names(panel, loss=end + 0.1) == []
            assert names(panel, loss=end + 50.0) == [SignalName.LOSS_SPIKE]

    def test_a_loss_that_is_exactly_zero_says_nothing_about_size(self) -> None:
        panel = fed([0.0] * 32)
        assert names(panel, loss=1e-6) == names(panel, loss=1e6) == []

    def test_a_loss_that_is_mostly_zero_is_judged_by_what_it_was_at_most(self) -> None:
        panel = fed([*[0.0] * 31, 0.5])
        assert names(panel, loss=1.2) == []
        assert names(panel, loss=50.0) == [SignalName.LOSS_SPIKE]


@pytest.mark.parametrize("value", [0.0, -5.0, math.nan, math.inf, -math.inf])
def test_values_without_a_logarithm_are_no_spikes(value: float) -> None:
    panel = fed(noise(32))
    spikes = {SignalName.LOSS_SPIKE, SignalName.GRADIENT_SPIKE, SignalName.DIVERGENCE}
    assert not spikes & set(names(panel, loss=value, grad_norm=value))


def test_spike_detection_can_be_turned_off() -> None:
    panel = fed(noise(64), load_policy({"detect": {"spike": None}}))
    assert names(panel, loss=1e30, grad_norm=1e17) == []
    assert "loss_spike" not in panel.state_dict()


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
        panel = fed(noise(32))
        before = [window(panel), window(panel, "gradient_spike")]
        for _ in range(100):
            panel.flagged(replace(OK, **numbers))
        assert [window(panel), window(panel, "gradient_spike")] == before

    @pytest.mark.parametrize("numbers", BAD)
    def test_it_is_as_sharp_after_a_fault_as_before(self, numbers: dict[str, Any]) -> None:
        panel, untouched = fed(noise(32)), fed(noise(32))
        panel.flagged(replace(OK, **numbers))
        panel.accept(replace(OK, loss=1.01))
        untouched.accept(replace(OK, loss=1.01))
        for loss in (0.9, 1.5, 2.0, 2.5, 3.0, 10.0):
            assert panel.inspect(replace(OK, loss=loss)) == untouched.inspect(replace(OK, loss=loss))
        assert names(panel, loss=10.0) == [SignalName.LOSS_SPIKE]

    def test_even_an_accepted_nan_enters_no_window(self) -> None:
        panel = fed([*noise(32), math.nan, math.inf])
        assert all(math.isfinite(x) for x in window(panel))
        assert names(panel, loss=50.0) == [SignalName.LOSS_SPIKE]

    def test_looking_changes_nothing(self) -> None:
        panel = fed(noise(32))
        before = panel.state_dict()
        for loss in (1.0, 50.0, math.nan):
            panel.inspect(replace(OK, loss=loss))
        assert panel.state_dict() == before

    def test_batches_that_come_again_feed_nothing(self) -> None:
        panel = fed(noise(32))
        before = panel.state_dict()
        panel.accept(replace(OK, loss=1.1, replayed=True))
        panel.flagged(replace(OK, loss=50.0, replayed=True))
        assert panel.state_dict() == before

    def test_a_panel_that_forgets_warms_up_anew(self) -> None:
        panel = fed(noise(32))
        panel.flagged(replace(OK, loss=50.0))
        panel.forget()
        assert panel.state_dict() == DetectorPanel(POLICY).state_dict()
        assert names(panel, loss=1e17) == []

    def test_the_window_slides(self) -> None:
        panel = fed([1.0] * 32)
        for _ in range(32):
            panel.accept(replace(OK, loss=1.4, grad_norm=1.0))
        assert window(panel) == [1.4] * 32
        assert names(panel, loss=1.4 * EDGE * 0.99) == []
        assert names(panel, loss=1.4 * EDGE * 1.01) == [SignalName.LOSS_SPIKE]


class TestDivergence:
    def test_the_second_spike_in_a_row_is_divergence(self) -> None:
        panel = fed(noise(32))
        assert names(panel, loss=50.0) == [SignalName.LOSS_SPIKE]
        panel.flagged(replace(OK, loss=50.0))
        (signal,) = panel.inspect(replace(OK, loss=60.0))
        assert signal.name is SignalName.DIVERGENCE
        assert signal.details["loss"] == 60.0

    def test_a_healthy_step_between_two_spikes_makes_them_two_spikes(self) -> None:
        panel = fed(noise(32))
        panel.flagged(replace(OK, loss=50.0))
        panel.accept(OK)
        assert names(panel, loss=50.0) == [SignalName.LOSS_SPIKE]

    def test_another_fault_between_is_no_spike(self) -> None:
        panel = fed(noise(32))
        panel.flagged(replace(OK, loss=50.0))
        panel.flagged(replace(OK, loss=math.nan))
        assert names(panel, loss=50.0) == [SignalName.LOSS_SPIKE]

    def test_each_quantity_diverges_for_itself(self) -> None:
        panel = fed(noise(32))
        panel.flagged(replace(OK, loss=50.0))
        assert names(panel, grad_norm=50.0) == [SignalName.GRADIENT_SPIKE]
        assert names(panel, loss=50.0, grad_norm=50.0) == [SignalName.DIVERGENCE, SignalName.GRADIENT_SPIKE]

    def test_divergence_of_the_gradient_is_named_before_a_spike_of_the_loss(self) -> None:
        panel = fed(noise(32))
        panel.flagged(replace(OK, grad_norm=50.0))
        assert names(panel, loss=50.0, grad_norm=50.0, sanitized=1) == [
            SignalName.DIVERGENCE,
            SignalName.LOSS_SPIKE,
            SignalName.SANITIZED_VALUES,
        ]

    def test_spikes_that_are_only_observed_still_become_divergence(self) -> None:
        # Observed spikes count as healthy, so they are accepted; that the spike goes on must be noticed all the same.
        panel = fed(noise(32), load_policy({"detect": {"spike": SPIKE}, "reactions": {"loss_spike": "observe"}}))
        panel.accept(replace(OK, loss=50.0))
        assert names(panel, loss=60.0) == [SignalName.DIVERGENCE]
        panel.accept(replace(OK, loss=1.0))
        assert names(panel, loss=60.0) == [SignalName.LOSS_SPIKE]

    def test_the_same_batch_again_is_no_other_batch(self) -> None:
        panel = fed(noise(32))
        panel.flagged(replace(OK, loss=50.0))
        assert names(panel, loss=50.0, replayed=True) == [SignalName.LOSS_SPIKE]

    def test_a_spike_on_a_state_that_was_put_back_is_the_datas_doing(self) -> None:
        panel = fed(noise(32))
        panel.flagged(replace(OK, loss=50.0))
        before = window(panel)
        panel.restored()
        assert window(panel) == before
        assert names(panel, loss=50.0) == [SignalName.LOSS_SPIKE]

    def test_an_observed_spike_stays_out_and_an_observed_new_level_is_followed(self) -> None:
        panel = fed(noise(32))
        panel.accept(replace(OK, loss=50.0))
        assert 50.0 not in window(panel)
        for _ in range(64):
            panel.accept(replace(OK, loss=50.0))
        assert names(panel, loss=60.0) == []


class TestLearningRate:
    """A warm restart lifts the loss as planned; a rate that was never in use before explains nothing."""

    CYCLE = tuple(0.1 * (1 + math.cos(math.pi * i / 64)) / 2 for i in range(64))

    def after_a_cycle(self, next_rate: float) -> DetectorPanel:
        panel = DetectorPanel(POLICY)
        for rate in self.CYCLE:
            panel.accept(replace(OK, lr=rate))
        panel.accept(replace(OK, lr=next_rate))
        return panel

    def test_the_window_begins_anew_with_a_warm_restart(self) -> None:
        panel = self.after_a_cycle(0.1)
        assert len(window(panel)) == len(window(panel, "gradient_spike")) == 1
        assert names(panel, loss=100.0) == []
        for _ in range(15):
            panel.accept(replace(OK, loss=30.0, lr=0.1))
        assert names(panel, loss=100.0) == []
        assert names(panel, loss=300.0) == [SignalName.LOSS_SPIKE]

    def test_a_rate_beyond_all_before_is_no_restart(self) -> None:
        panel = self.after_a_cycle(1.0)
        assert len(window(panel)) == 32
        assert names(panel, loss=100.0) == [SignalName.LOSS_SPIKE]

    def test_a_jump_that_the_run_went_back_from_is_no_restart_the_second_time(self) -> None:
        panel = self.after_a_cycle(1.0)
        panel.restored()
        panel.accept(replace(OK, lr=0.1))
        panel.accept(replace(OK, lr=1.0))
        assert len(window(panel)) == 32
        assert names(panel, loss=100.0) == [SignalName.LOSS_SPIKE]

    def test_a_warm_up_is_no_restart(self) -> None:
        panel = DetectorPanel(POLICY)
        for number in range(32):
            panel.accept(replace(OK, lr=1e-6 * 1.4**number))
        assert len(window(panel)) == 32

    def test_a_rate_that_is_not_known_changes_nothing(self) -> None:
        assert len(window(fed([1.0] * 32))) == 32


class TestState:
    def test_the_layout_of_an_older_version_starts_afresh(self) -> None:
        panel = DetectorPanel(POLICY)
        older = {"window": [0.0] * 32, "spiked": True}
        panel.load_state_dict({"loss_spike": older, "gradient_spike": older})
        assert panel.state_dict() == DetectorPanel(POLICY).state_dict()

    def test_another_threshold_counts_at_once(self) -> None:
        panel = DetectorPanel(load_policy({"detect": {"spike": {**SPIKE, "threshold": 30.0}}}))
        panel.load_state_dict(fed(noise(32)).state_dict())
        assert names(panel, loss=50.0) == []

    def test_it_survives_json_and_goes_on_alike(self) -> None:
        panel = fed(noise(40))
        panel.flagged(replace(OK, loss=50.0))
        back = DetectorPanel(POLICY)
        back.load_state_dict(json.loads(json.dumps(panel.state_dict())))
        assert back.state_dict() == panel.state_dict()
        assert names(back, loss=50.0) == [SignalName.DIVERGENCE]
        for value in noise(40, seed=1):
            for each in (panel, back):
                each.accept(replace(OK, loss=value))
        assert back.state_dict() == panel.state_dict()

    def test_it_is_a_copy(self) -> None:
        panel = fed(noise(20))
        saved = panel.state_dict()
        panel.accept(OK)
        assert len(saved["loss_spike"]["window"]) == 20
        back = DetectorPanel(POLICY)
        back.load_state_dict(saved)
        back.accept(OK)
        assert len(saved["loss_spike"]["window"]) == 20

    def test_a_shorter_window_keeps_the_newest_values(self) -> None:
        panel = fed(noise(32))
        short = DetectorPanel(load_policy({"detect": {"spike": {"window_updates": 4, "warmup_updates": 4}}}))
        short.load_state_dict(panel.state_dict())
        assert window(short) == window(panel)[-4:]

    def test_detectors_that_are_new_start_afresh(self) -> None:
        off = DetectorPanel(load_policy({"detect": {"spike": None}}))
        panel = DetectorPanel(POLICY)
        panel.load_state_dict(off.state_dict())
        assert window(panel) == []
        off.load_state_dict(fed(noise(32)).state_dict())
        assert "loss_spike" not in off.state_dict()


VALUES = st.one_of(st.floats(1e-3, 1e3), st.sampled_from([math.nan, math.inf, 1e30, 0.0, -1.0]))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(VALUES, VALUES, st.booleans(), st.booleans()), max_size=80))
def test_the_window_holds_the_newest_accepted_values_and_no_other(
    seen: list[tuple[float, float, bool, bool]],
) -> None:
    panel = DetectorPanel(POLICY)
    expected: list[float] = []
    for loss, grad_norm, replayed, exception in seen:
        observation = replace(
            OK, loss=loss, grad_norm=grad_norm, replayed=replayed, exception="E: e" if exception else None
        )
        if panel.inspect(observation):
            panel.flagged(observation)
        else:
            panel.accept(observation)
            if not replayed and math.isfinite(loss):
                expected.append(loss)
    assert window(panel) == expected[-32:]


LOSSES = st.lists(st.floats(-50, 50, allow_nan=False), min_size=20, max_size=60)


@settings(max_examples=100, deadline=None)
@given(LOSSES, st.floats(-1e4, 1e4), st.integers(-20, 20), st.booleans())
def test_the_score_does_not_depend_on_the_unit(values: list[float], last: float, power: int, positive: bool) -> None:
    """Scaling by a power of two is exact, so that equal scores may be demanded of linear units to the bit."""
    scale = 2.0**power
    values = [abs(v) + 1e-3 if positive else v for v in values]
    here, there = DetectorPanel(POLICY), DetectorPanel(POLICY)
    for value in values:
        here.accept(replace(OK, loss=value))
        there.accept(replace(OK, loss=value * scale))
    signals = here.inspect(replace(OK, loss=last)), there.inspect(replace(OK, loss=last * scale))
    if signals[0] and float(signals[0][0].details["score"]) < 8.0001:  # type: ignore[arg-type]
        return  # on the edge itself the rounding of logarithms decides
    assert [s.name for s in signals[0]] == [s.name for s in signals[1]]
    for one, other in zip(*signals, strict=True):
        assert one.details["score"] == pytest.approx(other.details["score"], rel=1e-6)


@settings(max_examples=100, deadline=None)
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
    for panel in (touched, untouched):
        panel.accept(OK)
    for value in after:
        observation = replace(OK, loss=value, grad_norm=value)
        found = [panel.inspect(observation) for panel in (touched, untouched)]
        assert found[0] == found[1]
        for panel in (touched, untouched):
            (panel.flagged if found[0] else panel.accept)(observation)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 1e3), st.floats(1e-3, 1e3), st.booleans()), max_size=120), st.integers(0, 119))
def test_a_panel_that_was_saved_and_loaded_gives_the_same_verdicts(
    seen: list[tuple[float, float, bool]], cut: int
) -> None:
    panel, other = DetectorPanel(POLICY), DetectorPanel(POLICY)
    for number, (loss, grad_norm, checked) in enumerate(seen):
        norms = {"w": grad_norm} if checked else None
        observation = replace(OK, update=number, loss=loss, grad_norm=grad_norm, lr=grad_norm, weight_norms=norms)
        if number == cut:
            other = DetectorPanel(POLICY)
            other.load_state_dict(json.loads(json.dumps(panel.state_dict())))
        found = panel.inspect(observation)
        assert number < cut or other.inspect(observation) == found
        for each in (panel, other) if number >= cut else (panel,):
            (each.flagged if found else each.accept)(observation)
    assert len(seen) <= cut or other.state_dict() == panel.state_dict()
