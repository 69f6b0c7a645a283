"""All detectors of a policy, asked in the order in which findings are named."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from supervisor.headroom import Forecast
from supervisor.policy import SPIKES, RecoveryPolicy, SpikeDetection
from supervisor.records import Observation, Signal, SignalName
from supervisor.signals.drift import DriftDetector
from supervisor.signals.headroom import HeadroomDetector
from supervisor.signals.loss_scale import LossScale
from supervisor.signals.nonfinite import nonfinite_signals
from supervisor.signals.not_learning import NotLearning
from supervisor.signals.odd import LossLevels, OddDetector
from supervisor.signals.odd_rate import OddRate
from supervisor.signals.spike import SpikeDetector
from supervisor.signals.weights import WeightDetector

__all__ = ["Detector", "Detectors"]

_ORDER = {name: position for position, name in enumerate(SignalName)}


class Detector(Protocol):
    """Looks at one observation at a time; remembers only healthy ones."""

    def inspect(self, observation: Observation) -> Signal | None:
        """The finding about this observation, None when there is none. Changes nothing."""

    def accept(self, observation: Observation) -> None:
        """Take a healthy observation into the window."""

    def flagged(self, observation: Observation) -> None:
        """Note that the update was flagged, by whichever detector. Its values enter no window."""

    def restored(self) -> None:
        """A good state was put back: drop what belonged to the one that was left. Windows stay."""

    def forget(self) -> None:
        """Empty the window."""

    def state_dict(self) -> dict[str, Any]:
        """What the detector remembers, as plain values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""


class Detectors:
    """Asks every detector about an observation and keeps flagged values out of every window.

    Attributes:
        not_learning: follows the losses of the first updates; it finds nothing by itself.
        rate: knows the highest learning rate so far, and whether a higher one was refused.
        headroom: forecasts what passes a bound soon; None where nobody asks. It finds nothing against an update.
    """

    def __init__(self, policy: RecoveryPolicy) -> None:
        self.not_learning = NotLearning()
        self._loss_scale = LossScale()
        self.rate = OddRate()
        watch = policy.detect.headroom
        self.headroom = None if watch is None else HeadroomDetector(watch)
        self._forecasts: tuple[Forecast, ...] = ()
        self._odd = _odd_detectors(policy)
        finite = _finite_detectors(policy)
        # With experiments, what is finite is only a suspicion, unless it is extreme.
        # `spike: null` turns that off too; the losses are followed all the same, since harm is measured by them.
        odd = () if policy.detect.spike is None else tuple(self._odd.values())
        self._judging: tuple[Detector, ...] = odd if self._odd else tuple(finite.values())
        self._asking: tuple[OddDetector, ...] = odd
        self._suspecting: tuple[Detector, ...] = tuple(finite.values()) if self._odd else ()
        self._detectors: dict[str, Detector] = {**self._odd, **finite}

    def inspect(self, observation: Observation) -> tuple[Signal, ...]:
        """All findings about one observation, furthest upstream first; empty when there are none."""
        found = nonfinite_signals(observation)
        for detector in self._judging:
            signal = detector.inspect(observation)
            if signal is not None:
                found.append(signal)
        return tuple(sorted(found, key=lambda signal: _ORDER[signal.name])) if found else ()

    def suspect(self, observation: Observation) -> tuple[Signal, ...]:
        """What makes a finite observation worth an experiment; empty where nothing does, and without experiments."""
        found = [signal for odd in self._asking if (signal := odd.suspect(observation)) is not None]
        rate = self.rate.suspect(observation) if self._asking else None
        if rate is not None:
            found.append(rate)
        for detector in self._suspecting:
            signal = detector.inspect(observation)
            if signal is not None:
                found.append(signal)
        return tuple(found)

    @property
    def levels(self) -> LossLevels | None:
        """What the recent healthy losses say of one that has risen; None where they are too few."""
        return self._odd["odd_loss"].levels if self._odd else None

    def begin_anew(self) -> None:
        """The data have changed for good: what is usual is to be learnt anew."""
        for odd in self._odd.values():
            odd.begin_anew()

    def is_calibration(self, observation: Observation, signals: Sequence[Signal]) -> bool:
        """Whether what was found is an overflow by which a gradient scaler finds its scale (`LossScale`).

        A scale multiplies the loss, so that it brings about gradients that are not finite, and nothing else: values
        that the model replaced on the way to its loss have another cause.
        """
        scale, names = observation.loss_scale, {signal.name for signal in signals}
        alone = names == {SignalName.NONFINITE_GRADIENT}
        return alone and scale is not None and self._loss_scale.expects_overflow(scale)

    def calibrated(self) -> None:
        """Note an overflow that was calibration."""
        self._loss_scale.overflowed()

    def accept(self, observation: Observation) -> None:
        """Take a healthy observation into the windows; one of a replayed batch enters none."""
        self._loss_scale.applied()
        if not observation.replayed:
            self.rate.accept(observation)
            if not self.not_learning.over:
                self.not_learning.accept(observation)
            for detector in self._detectors.values():
                detector.accept(observation)
            if self.headroom is not None and observation.headroom is not None:
                self._forecasts = self.headroom.accept(observation)

    def forecasts(self) -> tuple[Forecast, ...]:
        """What the check of the state that was accepted last forecasts and was not told before; given once."""
        told, self._forecasts = self._forecasts, ()
        return told

    def accept_on_trial(self, observation: Observation) -> None:
        """An odd update was applied: its values enter no window before its stretch is judged. Its rate did no harm."""
        self._loss_scale.applied()
        if not observation.replayed:
            self.rate.accept(observation)

    def flagged(self, observation: Observation) -> None:
        """Note a flagged observation; its values enter no window."""
        if not observation.gradient_elements_finite and math.isfinite(observation.loss):
            # A loss that is not finite says nothing about its scale.
            self._loss_scale.overflowed()
        if not observation.replayed:
            for detector in self._detectors.values():
                detector.flagged(observation)

    def restored(self) -> None:
        """A good state was put back: drop what belonged to the state that was left, and keep the windows."""
        for detector in self._detectors.values():
            detector.restored()
        if self.headroom is not None:
            self.headroom.restored()

    def forget(self) -> None:
        """Start every window afresh: the model was redrawn, and its old numbers say nothing about it.

        The rates are the schedule's, and are known as before.
        """
        self._loss_scale, self.not_learning = LossScale(), NotLearning()
        for detector in self._detectors.values():
            detector.forget()
        if self.headroom is not None:
            self.headroom.forget()

    def state_dict(self) -> dict[str, Any]:
        """What each detector remembers, by name; nothing for a finding that needs no memory."""
        state: dict[str, Any] = {name.value: {} for name in SignalName if name not in SPIKES}
        state |= {name: detector.state_dict() for name, detector in self._detectors.items()}
        return {
            **state,
            "loss_scale": asdict(self._loss_scale),
            "not_learning": self.not_learning.state_dict(),
            "odd_rate": self.rate.state_dict(),
            **({} if self.headroom is None else {"headroom": self.headroom.state_dict()}),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave; detectors it does not know start afresh."""
        if "loss_scale" in state:
            self._loss_scale = LossScale(**state["loss_scale"])
        if "not_learning" in state:
            self.not_learning.load_state_dict(state["not_learning"])
        if "odd_rate" in state:
            self.rate.load_state_dict(state["odd_rate"])
        if self.headroom is not None and "headroom" in state:
            self.headroom.load_state_dict(state["headroom"])
        for name, detector in self._detectors.items():
            if name in state:
                detector.load_state_dict(state[name])


def _odd_detectors(policy: RecoveryPolicy) -> dict[str, OddDetector]:
    """What suspects finite updates where experiments can tell whether it is right, by name."""
    if policy.experiments is None:
        return {}
    window = policy.detect.spike or SpikeDetection()
    return {
        "odd_loss": OddDetector("loss", policy.experiments, window),
        "odd_gradient": OddDetector("grad_norm", policy.experiments, window),
    }


def _finite_detectors(policy: RecoveryPolicy) -> dict[str, Detector]:
    """The detectors of finite values that the policy can turn off, by name."""
    detect = policy.detect
    detectors: dict[str, Detector] = {}
    if detect.spike is not None and policy.experiments is None:
        detectors["loss_spike"] = SpikeDetector("loss", detect.spike)
        detectors["gradient_spike"] = SpikeDetector("grad_norm", detect.spike)
    if detect.drift is not None:
        detectors["loss_drift"] = DriftDetector(detect.drift)
    if detect.weights is not None:
        detectors["weights"] = WeightDetector(detect.weights)
    return detectors
