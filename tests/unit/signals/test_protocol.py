"""What holds of every detector there is."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from supervisor.policy import RecoveryPolicy
from supervisor.records import Observation
from supervisor.signals import Detector, nonfinite
from supervisor.signals.drift import DriftDetector
from supervisor.signals.spike import SpikeDetector
from supervisor.signals.weights import WeightDetector

DETECT = RecoveryPolicy().detect
assert DETECT.spike is not None
assert DETECT.drift is not None
assert DETECT.weights is not None
SPIKE, DRIFT, WEIGHTS = DETECT.spike, DETECT.drift, DETECT.weights

MADE: dict[str, Callable[[], Detector]] = {
    **{name: type(each) for name, each in nonfinite.nonfinite_detectors().items()},
    "loss_spike": lambda: SpikeDetector("loss", SPIKE),
    "gradient_spike": lambda: SpikeDetector("grad_norm", SPIKE),
    "drift": lambda: DriftDetector(DRIFT),
    "weights": lambda: WeightDetector(WEIGHTS),
}

OK = Observation(step=0, update=0, loss=1.0, grad_norm=1.0)
BAD = {
    "step_exception": replace(OK, exception="E: e", loss=math.nan),
    "nonfinite_optimizer_state": replace(OK, bad_optimizer_state=("w.exp_avg",)),
    "nonfinite_parameter": replace(OK, bad_parameters=("w",)),
    "nonfinite_buffer": replace(OK, bad_buffers=("b",)),
    "nonfinite_loss": replace(OK, loss=math.nan),
    "nonfinite_gradient": replace(OK, gradient_elements_finite=False),
    "gradient_overflow": replace(OK, grad_norm=math.inf, gradient_max_abs=1e30),
    "sanitized_values": replace(OK, sanitized=1),
    "loss_spike": replace(OK, loss=1e6),
    "gradient_spike": replace(OK, grad_norm=1e6),
    "drift": replace(OK, loss=500.0),
    "weights": replace(OK, step=200, update=200, weight_norms={"w": 0.01}),
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
        assert found.name in (name, "divergence")

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
