"""Loss and gradient spikes by a robust z-score over a clean, detrended window of healthy updates."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict
from operator import attrgetter
from typing import Any, Literal

from supervisor.policy import SpikeDetection
from supervisor.records import Observation, Signal, SignalName
from supervisor.signals.baseline import Baseline
from supervisor.signals.restart import RateWatch

__all__ = ["LEAST_SPREAD", "REFRESH_UPDATES", "SpikeDetector"]

REFRESH_UPDATES = 16
"""Healthy updates between two looks at the whole window; in between a value is compared with the bound found last."""

LEAST_SPREAD = {"loss": 0.2, "grad_norm": 0.4}
"""Least spread assumed, in natural-log units: a nearly constant window must not make every wobble a spike. Gradient
norms have the longer tail, so that twice as much is asked of them, here and by the margin."""

MARGIN_FACTOR = {"loss": 1.0, "grad_norm": 2.0}


class SpikeDetector:
    """Flags a value far above where the window says the next one should be.

    A value is a spike when it scores more than `threshold` (see `Baseline`) and is more than `margin` times the largest
    healthy value of late, twice that for gradient norms. It is silent until the window holds `warmup_updates` values.
    A second spike in a row, on another batch, is `divergence`: the weights are damaged, not the batch. A learning rate
    that jumps back to what it has been before (a warm restart) starts the window afresh.

    Args:
        quantity: which number of the observation to watch.
        policy: window, threshold, margin and warm-up.
    """

    def __init__(self, quantity: Literal["loss", "grad_norm"], policy: SpikeDetection) -> None:
        self._quantity = quantity
        self._value_of: Callable[[Observation], float] = attrgetter(quantity)
        self._policy = policy
        self._name = SignalName.LOSS_SPIKE if quantity == "loss" else SignalName.GRADIENT_SPIKE
        self._margin = policy.margin * MARGIN_FACTOR[quantity]
        # Longer than the window, so that the baseline of the last refresh can be found when it is asked for.
        longest = policy.window_updates + REFRESH_UPDATES
        self._window: deque[float] = deque(maxlen=longest)
        # Kept beside, since taking the logarithms of the whole window is most of a baseline.
        self._logs: deque[float] = deque(maxlen=longest)
        self._baseline: Baseline | None = None
        self._is_due = False
        self._safe = self._limit = math.inf
        self._since_refresh = 0
        self._spiked = False
        self._rate = RateWatch()

    def inspect(self, observation: Observation) -> Signal | None:
        """`loss_spike`, `gradient_spike` or `divergence` with the value, the expected one and the score."""
        value = self._value_of(observation)
        if value <= self._safe or not self._is_spike(value) or self._baseline is None:
            return None
        # A batch that comes again is no other batch.
        goes_on = self._spiked and not observation.replayed
        details = {self._quantity: value, "median": self._baseline.typical, "score": self._baseline.score(value)}
        return Signal(SignalName.DIVERGENCE if goes_on else self._name, details)

    def accept(self, observation: Observation) -> None:
        """Take a healthy value into the window.

        The first of several observed spikes in a row stays out of it; the others are taken, as the new level.
        """
        value = self._value_of(observation)
        before, self._spiked = self._spiked, self._is_spike(value)
        # A gradient norm of zero says that nothing was learnt, not how large gradients are.
        if (self._spiked and not before) or not math.isfinite(value) or (value <= 0 and self._quantity == "grad_norm"):
            return
        if self._rate.restarted(observation.lr):
            self._empty()
        self._take(value)
        self._since_refresh += 1
        if self._since_refresh >= REFRESH_UPDATES or (self._baseline is None and not self._is_due):
            self._refresh()

    def flagged(self, observation: Observation) -> None:
        """Remember whether this flagged update was a spike."""
        self._spiked = self._is_spike(self._value_of(observation))

    def restored(self) -> None:
        """Forget that the last update was a spike: the next one is on another state, so that it is no divergence."""
        self._spiked = False
        self._rate.restored()

    def forget(self) -> None:
        """Empty the window; the warm-up begins anew."""
        self._empty()
        self._spiked = False
        self._rate = RateWatch()

    def state_dict(self) -> dict[str, Any]:
        """The window, what was found in it, and whether the last update spiked."""
        self._find_baseline()
        return {
            "window": list(self._window)[-self._policy.window_updates :],
            "baseline": None if self._baseline is None else list(self._baseline),
            "since_refresh": self._since_refresh,
            "spiked": self._spiked,
            "rate": asdict(self._rate),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave; the state of an older version, which has no baseline, is ignored."""
        if "baseline" not in state:
            return
        self._empty()
        for value in state["window"]:
            self._take(value)
        self._baseline = None if state["baseline"] is None else Baseline(*state["baseline"])
        self._safe = -math.inf if self._baseline is not None else math.inf
        self._since_refresh = state["since_refresh"]
        self._spiked = bool(state["spiked"])
        self._rate = RateWatch(**state["rate"])
        self._set_limit()

    def _take(self, value: float) -> None:
        self._window.append(value)
        self._logs.append(math.log(value) if value > 0 else -math.inf)

    def _empty(self) -> None:
        self._window.clear()
        self._logs.clear()
        self._baseline, self._is_due = None, False
        self._since_refresh = 0
        self._safe = math.inf
        self._set_limit()

    def _is_spike(self, value: float) -> bool:
        if value <= self._safe:
            return False
        self._find_baseline()
        return self._limit < value < math.inf

    def _refresh(self) -> None:
        """Have a baseline drawn through the window as it is now, when a value asks for it.

        Most never do: the limit is at least `margin` times the newest value where all are above zero, and at least the
        newest value elsewhere (`Baseline.limit`).
        """
        if len(self._window) < self._policy.warmup_updates:
            return
        self._since_refresh = 0
        self._is_due = True
        newest = min(self._window[-1], 1e300)
        # A little less, for what rounding may take from it.
        self._safe = 0.999 * self._margin * newest if min(self._window) > 0 else newest

    def _find_baseline(self) -> None:
        if not self._is_due:
            return
        self._is_due = False
        end = len(self._window) - self._since_refresh
        start = max(0, end - self._policy.window_updates)
        window, logs = list(self._window)[start:end], list(self._logs)[start:end]
        quiet = LEAST_SPREAD[self._quantity]
        self._baseline = Baseline.of(window, quiet=quiet, ahead=REFRESH_UPDATES, logs=logs)
        self._set_limit()

    def _set_limit(self) -> None:
        baseline = self._baseline
        self._limit = math.inf if baseline is None else baseline.limit(self._policy.threshold, self._margin)
