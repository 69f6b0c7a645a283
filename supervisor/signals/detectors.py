"""All detectors of a policy, asked in the order in which findings are named."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from supervisor.policy import RecoveryPolicy
from supervisor.records import Observation, Signal, SignalName
from supervisor.signals.drift import DriftDetector
from supervisor.signals.loss_scale import LossScale
from supervisor.signals.nonfinite import finds_nothing, nonfinite_detectors
from supervisor.signals.protocol import Detector
from supervisor.signals.spike import SpikeDetector
from supervisor.signals.weights import WeightDetector

__all__ = ["Detectors"]

OVERFLOW = frozenset({SignalName.NONFINITE_GRADIENT, SignalName.SANITIZED_VALUES})
"""The findings with which an overflow can be a gradient scaler's calibration; any other makes it a fault."""

_ORDER = {name: position for position, name in enumerate(SignalName)}


class Detectors:
    """Asks every detector about an observation and keeps flagged values out of every window."""

    def __init__(self, policy: RecoveryPolicy) -> None:
        self._loss_scale = LossScale()
        # Only these remember anything, so that only they are told of each update.
        self._learning = _learning(policy)
        self._detectors = nonfinite_detectors() | self._learning

    def inspect(self, observation: Observation) -> tuple[Signal, ...]:
        """All findings about one observation, furthest upstream first; empty when there are none."""
        # Nearly every update is healthy, so that this decides what the detectors cost.
        asked = self._learning if finds_nothing(observation) else self._detectors
        found = [s for detector in asked.values() if (s := detector.inspect(observation)) is not None]
        return tuple(sorted(found, key=lambda signal: _ORDER[signal.name])) if found else ()

    def is_calibration(self, observation: Observation, signals: Sequence[Signal]) -> bool:
        """Whether what was found is an overflow by which a gradient scaler finds its scale (`LossScale`)."""
        names = {signal.name for signal in signals}
        overflow, scale = SignalName.NONFINITE_GRADIENT in names and names <= OVERFLOW, observation.loss_scale
        return overflow and scale is not None and self._loss_scale.expects_overflow(scale)

    def calibrated(self) -> None:
        """Note an overflow that was calibration."""
        self._loss_scale.overflowed()

    def accept(self, observation: Observation) -> None:
        """Take a healthy observation into the windows; one of a replayed batch enters none."""
        self._loss_scale.applied()
        if not observation.replayed:
            for detector in self._learning.values():
                detector.accept(observation)

    def flagged(self, observation: Observation) -> None:
        """Note a flagged observation; its values enter no window."""
        if not observation.gradient_elements_finite and math.isfinite(observation.loss):
            # A loss that is not finite says nothing about its scale.
            self._loss_scale.overflowed()
        if not observation.replayed:
            for detector in self._learning.values():
                detector.flagged(observation)

    def restored(self) -> None:
        """A good state was put back: drop what belonged to the state that was left, and keep the windows."""
        for detector in self._learning.values():
            detector.restored()

    def forget(self) -> None:
        """Start every window afresh: the model was redrawn, and its old numbers say nothing about it."""
        self._loss_scale.forget()
        for detector in self._learning.values():
            detector.forget()

    def state_dict(self) -> dict[str, Any]:
        """What each detector remembers, by name."""
        state = {name: detector.state_dict() for name, detector in self._detectors.items()}
        return {**state, "loss_scale": self._loss_scale.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave; detectors it does not know start afresh."""
        if "loss_scale" in state:
            self._loss_scale.load_state_dict(state["loss_scale"])
        for name, detector in self._detectors.items():
            if name in state:
                detector.load_state_dict(state[name])


def _learning(policy: RecoveryPolicy) -> dict[str, Detector]:
    """The detectors that the policy can turn off, by name."""
    detect = policy.detect
    learning: dict[str, Detector] = {}
    if detect.spike is not None:
        learning["loss_spike"] = SpikeDetector("loss", detect.spike)
        learning["gradient_spike"] = SpikeDetector("grad_norm", detect.spike)
    if detect.drift is not None:
        learning["loss_drift"] = DriftDetector(detect.drift)
    if detect.weights is not None:
        learning["weights"] = WeightDetector(detect.weights)
    return learning
