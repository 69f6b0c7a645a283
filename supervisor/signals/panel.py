"""All detectors of a policy, asked in the order in which findings are named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from supervisor.policy import RecoveryPolicy
from supervisor.records import Observation, Signal, SignalName
from supervisor.signals.nonfinite import (
    GradientOverflow,
    NonfiniteBuffer,
    NonfiniteGradient,
    NonfiniteLoss,
    NonfiniteOptimizerState,
    NonfiniteParameter,
    SanitizedValues,
    StepException,
)
from supervisor.signals.protocol import Detector
from supervisor.signals.spike import SpikeDetector

__all__ = ["DetectorPanel"]

_ORDER = {name: position for position, name in enumerate(SignalName)}


class DetectorPanel:
    """Asks every detector about an observation and keeps flagged values out of every window."""

    def __init__(self, policy: RecoveryPolicy) -> None:
        self._detectors: dict[str, Detector] = {
            "step_exception": StepException(),
            "nonfinite_optimizer_state": NonfiniteOptimizerState(),
            "nonfinite_parameter": NonfiniteParameter(),
            "nonfinite_buffer": NonfiniteBuffer(),
            "nonfinite_loss": NonfiniteLoss(),
            "nonfinite_gradient": NonfiniteGradient(),
            "gradient_overflow": GradientOverflow(),
            "sanitized_values": SanitizedValues(),
        }
        if policy.detect.spike is not None:
            self._detectors["loss_spike"] = SpikeDetector("loss", policy.detect.spike)
            self._detectors["gradient_spike"] = SpikeDetector("grad_norm", policy.detect.spike)

    def inspect(self, observation: Observation) -> tuple[Signal, ...]:
        """All findings about one observation, furthest upstream first; empty when there are none."""
        found = [s for detector in self._detectors.values() if (s := detector.inspect(observation)) is not None]
        return tuple(sorted(found, key=lambda signal: _ORDER[signal.name])) if found else ()

    def accept(self, observation: Observation) -> None:
        """Take a healthy observation into the windows; one of a replayed batch enters none."""
        if not observation.replayed:
            for detector in self._detectors.values():
                detector.accept(observation)

    def flagged(self, observation: Observation) -> None:
        """Note a flagged observation; its values enter no window."""
        if not observation.replayed:
            for detector in self._detectors.values():
                detector.flagged(observation)

    def forget(self) -> None:
        """Start every window afresh: the model is another one, and its old numbers say nothing about it."""
        for detector in self._detectors.values():
            detector.forget()

    def state_dict(self) -> dict[str, Any]:
        """What each detector remembers, by name."""
        return {name: detector.state_dict() for name, detector in self._detectors.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave; detectors it does not know start afresh."""
        for name, detector in self._detectors.items():
            if name in state:
                detector.load_state_dict(state[name])
