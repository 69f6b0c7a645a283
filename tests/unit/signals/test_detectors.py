"""All detectors together: the order in which findings are named, what each is told, and what holds of every one."""

from __future__ import annotations

import copy
import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from supervisor.headroom import Headroom
from supervisor.policy import Experiments, RecoveryPolicy, load_policy
from supervisor.records import Observation, SignalName
from supervisor.signals import Detector, Detectors
from supervisor.signals.drift import DriftDetector
from supervisor.signals.odd import OddDetector
from supervisor.signals.spike import SpikeDetector
from supervisor.signals.weights import WeightDetector

NAN = math.nan
HEALTHY = Observation(step=3, update=5, loss=0.7, grad_norm=1.3)


def names(**numbers: Any) -> list[SignalName]:
    return [signal.name for signal in Detectors(RecoveryPolicy()).inspect(replace(HEALTHY, **numbers))]


FAULTS: dict[SignalName, dict[str, Any]] = {
    SignalName.NONFINITE_OPTIMIZER_STATE: {"bad_optimizer_state": ("w.exp_avg",)},
    SignalName.NONFINITE_PARAMETER: {"bad_parameters": ("w",)},
    SignalName.NONFINITE_BUFFER: {"bad_buffers": ("b",)},
    SignalName.NONFINITE_LOSS: {"loss": NAN},
    SignalName.NONFINITE_GRADIENT: {"grad_norm": NAN, "gradient_elements_finite": False, "bad_gradients": ("w",)},
    SignalName.SANITIZED_VALUES: {"sanitized": 1},
}


@pytest.mark.parametrize("chosen", [c for n in range(2, 6) for c in itertools.combinations(FAULTS, n)])
def test_the_finding_furthest_upstream_is_named_first(chosen: tuple[SignalName, ...]) -> None:
    numbers: dict[str, Any] = {}
    for name in reversed(chosen):
        numbers |= FAULTS[name]
    assert names(**numbers) == list(chosen)


def test_an_exception_is_named_before_what_it_left_behind() -> None:
    assert names(exception="E", bad_parameters=("w",)) == [SignalName.STEP_EXCEPTION, SignalName.NONFINITE_PARAMETER]


def test_the_overflow_of_a_finite_loss_is_named_before_a_spike() -> None:
    detectors = Detectors(RecoveryPolicy())
    for update in range(40):
        detectors.accept(replace(HEALTHY, update=update))
    signals = detectors.inspect(replace(HEALTHY, loss=1e6, grad_norm=1e19, gradient_max_abs=1e19))
    assert [s.name for s in signals] == [
        SignalName.GRADIENT_OVERFLOW,
        SignalName.LOSS_SPIKE,
        SignalName.GRADIENT_SPIKE,
    ]


def test_a_healthy_update_has_no_finding() -> None:
    assert names() == []


COUNTING = {"loss_spike", "gradient_spike", "loss_drift", "weights"}
"""Those that learn where the ladder climbs by counting alone."""

SUSPECTING = {"odd_loss", "odd_gradient", "loss_drift", "weights"}
"""Those that learn where experiments decide."""


@pytest.mark.parametrize(
    ("off", "missing"),
    [("spike", {"loss_spike", "gradient_spike"}), ("drift", {"loss_drift"}), ("weights", {"weights"})],
)
def test_what_the_policy_turns_off_is_not_there(off: str, missing: set[str]) -> None:
    state = Detectors(load_policy({"detect": {off: None}, "experiments": None})).state_dict()
    assert (COUNTING | SUSPECTING) & state.keys() == COUNTING - missing


def test_with_experiments_odd_values_are_watched_in_place_of_spikes() -> None:
    state = Detectors(RecoveryPolicy()).state_dict()
    assert (COUNTING | SUSPECTING) & state.keys() == SUSPECTING


def fed(detectors: Detectors) -> Detectors:
    """Forty healthy updates, the state of the weights with each."""
    for update in range(40):
        detectors.accept(replace(HEALTHY, step=update, update=update, lr=0.1, weight_norms={"w": 1.0}))
    return detectors


@pytest.mark.parametrize(
    ("policy", "learning"),
    [(RecoveryPolicy(), SUSPECTING), (RecoveryPolicy(experiments=None), COUNTING)],
    ids=["experiments", "counting"],
)
def test_every_detector_that_learns_is_told_of_healthy_updates_and_forgets_when_told(
    policy: RecoveryPolicy, learning: set[str]
) -> None:
    fresh, detectors = Detectors(policy).state_dict(), Detectors(policy)
    learnt = fed(detectors).state_dict()
    told = {name for name in learnt if learnt[name] != fresh[name]}
    assert told == {*learning, "loss_scale", "not_learning", "odd_rate"}
    detectors.forget()
    # The rates are the schedule's.
    assert detectors.state_dict() == {**fresh, "odd_rate": learnt["odd_rate"]}


def test_a_batch_that_comes_again_enters_no_window_and_counts_for_the_loss_scale_alone() -> None:
    detectors = Detectors(RecoveryPolicy())
    fresh = detectors.state_dict()
    detectors.accept(replace(HEALTHY, replayed=True))
    after = detectors.state_dict()
    assert {name for name in after if after[name] != fresh[name]} == {"loss_scale"}


def test_the_state_is_taken_by_name_and_what_is_not_known_starts_afresh() -> None:
    saved = fed(Detectors(RecoveryPolicy())).state_dict()
    detectors = Detectors(RecoveryPolicy())
    detectors.load_state_dict({**saved, "from_a_later_version": {"window": [1.0]}})
    assert detectors.state_dict() == saved
    del saved["loss_drift"]
    other = Detectors(RecoveryPolicy())
    other.load_state_dict(saved)
    assert other.state_dict() == {**saved, "loss_drift": Detectors(RecoveryPolicy()).state_dict()["loss_drift"]}


class TestWhereExperimentsDecide:
    """What is finite is a suspicion there, unless it is extreme; without experiments it is a finding."""

    WEIGHTS_HALVED = replace(HEALTHY, step=60, update=60, weight_norms={"w": 0.4})

    def test_a_value_above_the_window_is_suspected_and_not_found(self) -> None:
        detectors = fed(Detectors(RecoveryPolicy()))
        odd = replace(HEALTHY, loss=HEALTHY.loss * 4)
        assert detectors.inspect(odd) == ()
        assert [signal.name for signal in detectors.suspect(odd)] == [SignalName.ODD_UPDATE]

    def test_an_extreme_value_is_found(self) -> None:
        detectors = fed(Detectors(RecoveryPolicy()))
        for extreme in (replace(HEALTHY, loss=HEALTHY.loss * 40), replace(HEALTHY, grad_norm=HEALTHY.grad_norm * 200)):
            assert len(detectors.inspect(extreme)) == 1

    def test_weights_that_lost_half_are_suspected_and_not_found(self) -> None:
        detectors = fed(Detectors(RecoveryPolicy()))
        assert detectors.inspect(self.WEIGHTS_HALVED) == ()
        assert [signal.name for signal in detectors.suspect(self.WEIGHTS_HALVED)] == [SignalName.DIVERGENCE]
        without = fed(Detectors(RecoveryPolicy(experiments=None)))
        assert [signal.name for signal in without.inspect(self.WEIGHTS_HALVED)] == [SignalName.DIVERGENCE]

    def test_without_experiments_nothing_is_suspected(self) -> None:
        detectors = fed(Detectors(RecoveryPolicy(experiments=None)))
        assert detectors.suspect(replace(self.WEIGHTS_HALVED, loss=1e6, grad_norm=1e6)) == ()
        assert detectors.levels is None

    def test_after_a_change_of_the_data_odd_values_are_usual_until_the_window_is_full_again(self) -> None:
        detectors = fed(Detectors(RecoveryPolicy()))
        weights = detectors.state_dict()["weights"]
        detectors.begin_anew()
        assert detectors.suspect(replace(HEALTHY, loss=HEALTHY.loss * 4)) == ()
        assert detectors.inspect(replace(HEALTHY, loss=1e6, grad_norm=1e6)) == ()
        assert detectors.state_dict()["weights"] == weights

    def test_an_update_that_stands_on_trial_enters_no_window_and_yet_its_rate_is_known(self) -> None:
        detectors = fed(Detectors(RecoveryPolicy()))
        faster = replace(HEALTHY, lr=1.0)
        (found,) = detectors.suspect(faster)
        assert found.details == {"lr": 1.0, "highest_lr": 0.1}
        before = detectors.state_dict()
        detectors.accept_on_trial(faster)
        after = detectors.state_dict()
        assert {name for name in after if after[name] != before[name]} == {"odd_rate"}
        assert detectors.suspect(faster) == ()

    def test_without_spikes_no_rate_is_odd(self) -> None:
        detectors = fed(Detectors(load_policy({"detect": {"spike": None}})))
        assert detectors.suspect(replace(HEALTHY, lr=1.0)) == ()


DETECT = RecoveryPolicy().detect
assert DETECT.spike is not None
assert DETECT.drift is not None
assert DETECT.weights is not None
SPIKE, DRIFT, WEIGHTS = DETECT.spike, DETECT.drift, DETECT.weights

MADE: dict[str, Callable[[], Detector]] = {
    "loss_spike": lambda: SpikeDetector("loss", SPIKE),
    "gradient_spike": lambda: SpikeDetector("grad_norm", SPIKE),
    "drift": lambda: DriftDetector(DRIFT),
    "weights": lambda: WeightDetector(WEIGHTS),
    "odd_loss": lambda: OddDetector("loss", Experiments(), SPIKE),
    "odd_gradient": lambda: OddDetector("grad_norm", Experiments(), SPIKE),
}

FINDING = {"drift": "divergence", "weights": "divergence", "odd_loss": "loss_spike", "odd_gradient": "gradient_spike"}
"""What is found, where it is not called what the detector is."""

OK = Observation(step=0, update=0, loss=1.0, grad_norm=1.0)
BAD = {
    "loss_spike": replace(OK, loss=1e6),
    "gradient_spike": replace(OK, grad_norm=1e6),
    "drift": replace(OK, loss=500.0),
    "weights": replace(OK, step=200, update=200, weight_norms={"w": 0.01}),
    "odd_loss": replace(OK, loss=1e6),
    "odd_gradient": replace(OK, grad_norm=1e6),
}


def taught(name: str, *, climb: float = 1.5) -> Detector:
    """A detector that has seen five blocks of healthy updates but for the last update, each `climb` times the other."""
    detector = MADE[name]()
    factor = climb if name == "drift" else 1.0
    for update in range(5 * DRIFT.block_updates - 1):
        loss = factor ** (update // DRIFT.block_updates)
        detector.accept(replace(OK, step=update, update=update, loss=loss, lr=0.1, weight_norms={"w": 1.0}))
    return detector


@pytest.mark.parametrize("name", MADE)
class TestEveryDetector:
    def test_is_silent_about_a_healthy_update_and_finds_what_it_is_for(self, name: str) -> None:
        assert taught(name, climb=1.0).inspect(OK) is None
        found = taught(name).inspect(BAD[name])
        assert found is not None
        assert found.name == FINDING.get(name, name)

    def test_changes_nothing_by_looking(self, name: str) -> None:
        detector = taught(name)
        before = copy.deepcopy(detector.state_dict())
        detector.inspect(OK)
        detector.inspect(BAD[name])
        assert detector.state_dict() == before

    def test_goes_on_alike_from_a_state_that_went_through_json(self, name: str) -> None:
        detector, other = taught(name), MADE[name]()
        other.load_state_dict(json.loads(json.dumps(detector.state_dict())))
        assert other.state_dict() == detector.state_dict()
        assert other.inspect(BAD[name]) == detector.inspect(BAD[name])

    def test_forgets_all_it_has_seen(self, name: str) -> None:
        detector = taught(name)
        detector.flagged(BAD[name])
        detector.forget()
        assert detector.state_dict() == MADE[name]().state_dict()


def growing(update: int, **changes: Any) -> Observation:
    norm = math.exp(0.02 * update)
    seen = replace(OK, step=update, update=update, weight_norms={"w": norm}, headroom=Headroom({}, {}))
    return replace(seen, **changes)


class TestForecasts:
    POLICY = load_policy({"detect": {"headroom": {"warmup_updates": 0}}})

    def test_one_is_given_once_and_is_no_finding(self) -> None:
        detectors, told = Detectors(self.POLICY), []
        for update in range(9, 300, 10):
            assert detectors.inspect(growing(update)) == ()
            detectors.accept(growing(update))
            told += detectors.forecasts()
            assert detectors.forecasts() == ()
        assert [each.parameter for each in told] == ["w"]

    def test_a_batch_that_comes_again_and_an_update_on_trial_are_not_followed(self) -> None:
        detectors = Detectors(self.POLICY)
        for update in range(9, 300, 10):
            detectors.accept(growing(update, replayed=True))
            detectors.accept_on_trial(growing(update))
            assert detectors.forecasts() == ()

    def test_they_go_back_with_the_state_and_go_on_from_a_checkpoint_without_them(self) -> None:
        first, second = Detectors(self.POLICY), Detectors(self.POLICY)
        for update in range(9, 80, 10):
            first.accept(growing(update))
        state = json.loads(json.dumps(first.state_dict()))
        second.load_state_dict(state)
        for update in range(89, 200, 10):
            for each in (first, second):
                each.accept(growing(update))
            assert first.forecasts() == second.forecasts()
        Detectors(self.POLICY).load_state_dict({name: held for name, held in state.items() if name != "headroom"})

    def test_null_turns_them_off(self) -> None:
        detectors = Detectors(load_policy({"detect": {"headroom": None}}))
        for update in range(9, 300, 10):
            detectors.accept(growing(update))
        assert detectors.forecasts() == ()
        assert "headroom" not in detectors.state_dict()
