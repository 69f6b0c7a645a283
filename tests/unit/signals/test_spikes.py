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
from supervisor.signals.spike import QUIET_SIGMA

SPIKE = {"window_updates": 32, "threshold": 8.0, "warmup_updates": 16}
POLICY = load_policy({"detect": {"spike": SPIKE}})

EDGE = math.exp(8.0 * QUIET_SIGMA)
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
    logs = [0.1 * i for i in range(16)]
    panel = fed(math.exp(x) for x in logs)
    center = 0.75
    spread = 1.4826 * 0.4  # the middle of the distances 0.05, 0.05, 0.15, 0.15, ... 0.75, 0.75
    edge = center + 8 * spread
    assert names(panel, loss=math.exp(edge - 1e-6)) == []
    (signal,) = panel.inspect(replace(OK, loss=math.exp(edge + 1e-6)))
    assert signal.details["score"] == pytest.approx(8.0, abs=1e-4)


def test_a_low_value_is_no_spike() -> None:
    assert names(fed(noise(32)), loss=1e-9, grad_norm=1e-9) == []


def test_a_constant_window_does_not_make_every_wobble_a_spike() -> None:
    panel = fed([1.0] * 32)
    assert names(panel, loss=EDGE * 0.99) == []
    assert names(panel, loss=EDGE * 1.01) == [SignalName.LOSS_SPIKE]


def test_it_is_silent_until_the_warm_up_is_over() -> None:
    assert names(fed(noise(15)), loss=1e30) == []
    assert names(fed(noise(16)), loss=1e30) == [SignalName.LOSS_SPIKE]


def test_the_warm_up_counts_values_that_count() -> None:
    panel = fed([*noise(15), *[-1.0, 0.0] * 20])
    assert len(window(panel)) == 15
    assert names(panel, loss=1e30) == []


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
        assert window(panel) == [math.log(1.4)] * 32
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


class TestState:
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
            if not replayed and 0 < loss < math.inf:
                expected.append(math.log(loss))
    assert window(panel) == expected[-32:]
