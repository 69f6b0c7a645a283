"""Loss and gradient spikes by a robust z-score over a window of healthy updates."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Any, Literal

from supervisor.policy import SpikeDetection
from supervisor.records import Observation, Signal, SignalName

__all__ = ["SpikeDetector"]

MAD_TO_SIGMA = 1.4826
"""Scales the median absolute deviation to the standard deviation of a normal distribution."""

QUIET_SIGMA = 0.2
"""Least spread assumed, in natural-log units (a fifth): a nearly constant window must not make every wobble a spike."""


class SpikeDetector:
    """Flags a value far above the median of the window, in units of its robust spread.

    The score is `(log x - median(log window)) / max(1.4826 * MAD(log window), 0.2)`; it is silent until the window
    holds `warmup_updates` values, and for values that have no logarithm (a loss at or below zero). A second spike
    in a row, on another batch, is `divergence`: the weights are damaged, not the batch.

    Args:
        quantity: which number of the observation to watch.
        policy: window, threshold and warm-up.
    """

    def __init__(self, quantity: Literal["loss", "grad_norm"], policy: SpikeDetection) -> None:
        self._quantity = quantity
        self._policy = policy
        self._name = SignalName.LOSS_SPIKE if quantity == "loss" else SignalName.GRADIENT_SPIKE
        self._window: deque[float] = deque(maxlen=policy.window_updates)
        self._spiked = False

    def inspect(self, observation: Observation) -> Signal | None:
        """`loss_spike`, `gradient_spike` or `divergence` with the value, the median and the score."""
        score = self._score(observation)
        if score is None or score <= self._policy.threshold:
            return None
        name = SignalName.DIVERGENCE if self._spiked else self._name
        typical = math.exp(median(self._window))
        return Signal(name, {self._quantity: self._value(observation), "median": typical, "score": score})

    def accept(self, observation: Observation) -> None:
        """Take a healthy value into the window."""
        # A spike that the policy only observes is healthy, and yet the next one goes on from it.
        self._spiked = self._is_spike(observation)
        value = self._value(observation)
        if value > 0 and math.isfinite(value):
            self._window.append(math.log(value))

    def flagged(self, observation: Observation) -> None:
        """Remember whether this flagged update was a spike."""
        self._spiked = self._is_spike(observation)

    def forget(self) -> None:
        """Empty the window; the warm-up begins anew."""
        self._window.clear()
        self._spiked = False

    def state_dict(self) -> dict[str, Any]:
        """The window (natural logarithms) and whether the last update spiked."""
        return {"window": list(self._window), "spiked": self._spiked}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self._window = deque(state["window"], maxlen=self._policy.window_updates)
        self._spiked = bool(state["spiked"])

    def _value(self, observation: Observation) -> float:
        return observation.loss if self._quantity == "loss" else observation.grad_norm

    def _is_spike(self, observation: Observation) -> bool:
        score = self._score(observation)
        return score is not None and score > self._policy.threshold

    def _score(self, observation: Observation) -> float | None:
        value = self._value(observation)
        if not (value > 0 and math.isfinite(value)) or len(self._window) < self._policy.warmup_updates:
            return None
        center = median(self._window)
        # Most values lie below the median plus a little; only the others need the second pass.
        rise = math.log(value) - center
        if rise <= self._policy.threshold * QUIET_SIGMA:
            return rise / QUIET_SIGMA
        spread = MAD_TO_SIGMA * median(abs(x - center) for x in self._window)
        return rise / max(spread, QUIET_SIGMA)
