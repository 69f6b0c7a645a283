"""Odd updates: finite, and further from the recent ones than those are from each other; worth an experiment."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import Any, Literal

from supervisor.policy import Experiments, SpikeDetection
from supervisor.records import Observation, Signal, SignalName
from supervisor.signals.baseline import MAD_TO_SIGMA, Baseline, median_of_sorted
from supervisor.signals.restart import RateWatch

__all__ = ["LossLevels", "OddDetector"]

REFRESH_UPDATES = 16
"""Healthy updates between two looks at the whole window."""

RECENT = 32
"""How many of the newest healthy values an extreme one, and the spread of the losses, are measured by."""

LEAST = 8
"""Healthy values to see before anything can be extreme."""

FIRST = 8
"""The median of so many losses is where a run began."""

EXTREME = {"loss": 30.0, "grad_norm": 10.0}
"""How many times the largest recent value an extreme one is."""

BEYOND_ALL = 20.0
"""How many times the highest median of the gradient norms, of all so far, an extreme one is. The square of a larger one
soon outweighs what Adam's second moments remember of a thousand usual ones, and canaries do not show that."""

LEAST_RATIO = {"loss": 1.2, "grad_norm": 1.2}
"""How many times the typical value an odd one is at least, where all are above zero."""

QUIET = 0.05
"""Least spread, in natural-log units: in a nearly constant window every wobble would be odd."""


@dataclass(frozen=True, slots=True)
class LossLevels:
    """What the recent healthy losses say of one that has risen.

    Attributes:
        median: of the newest healthy losses.
        spread: 1.4826 times their median absolute deviation, in units of the loss.
        began: where they began: the median of the first.
        learnt: the first loss less the best level so far; 0 where nothing was learnt.
        positive: whether all of the window lie above zero, so that ratios mean something.
    """

    median: float
    spread: float
    began: float
    learnt: float
    positive: bool


class OddDetector:
    """Finds losses or gradient norms that are odd, and those that are extreme.

    An odd value scores more than `suspect_score` against a robust line through the window (see `Baseline`) and is more
    than 1.2 times the typical one. An extreme loss is 30 times the largest recent one. An extreme gradient norm is ten
    times the largest recent one, and 20 times the highest median that there was: where nearly all is learnt, one hard
    sample has a gradient of a thousand times the usual, and yet no larger than in the beginning. A loss that has risen
    by less than `least_harm` of what was learnt so far is neither. Nothing less than extreme is odd before the window
    holds `warmup_updates` values, and nothing extreme before it holds eight: an outlier that passes in the warm-up
    would hide those that follow. A learning rate that jumps back to what it has been before (a warm restart) starts the
    window afresh.

    Args:
        quantity: which number of the observation to watch.
        experiments: the score, and the least harm.
        window: its length and the warm-up.
    """

    def __init__(
        self, quantity: Literal["loss", "grad_norm"], experiments: Experiments, window: SpikeDetection
    ) -> None:
        self._quantity = quantity
        self._value_of: Callable[[Observation], float] = attrgetter(quantity)
        self._experiments = experiments
        self._name = SignalName.LOSS_SPIKE if quantity == "loss" else SignalName.GRADIENT_SPIKE
        self._warmup = window.warmup_updates
        self._window: deque[float] = deque(maxlen=window.window_updates)
        self._first: list[float] = []
        self._best = math.inf
        self._highest = 0.0
        self._baseline: Baseline | None = None
        self._since_refresh = 0
        self._limit = self._extreme = math.inf
        self._rate = RateWatch()

    def inspect(self, observation: Observation) -> Signal | None:
        """`loss_spike` or `gradient_spike` for an extreme value, with the typical one and the score."""
        value = self._value_of(observation)
        if value <= self._extreme or not value < math.inf:
            return None
        return self._signal(self._name, value)

    def suspect(self, observation: Observation) -> Signal | None:
        """`odd_update` for an odd value, likewise."""
        value = self._value_of(observation)
        if value <= self._limit or not value < math.inf:
            return None
        return self._signal(SignalName.ODD_UPDATE, value)

    def accept(self, observation: Observation) -> None:
        """Take a healthy value into the window."""
        value = self._value_of(observation)
        # A gradient norm of zero says that nothing was learnt, not how large gradients are.
        if not math.isfinite(value) or (value <= 0 and self._quantity == "grad_norm"):
            return
        if self._rate.restarted(observation.lr):
            self.begin_anew()
        if len(self._first) < FIRST:
            self._first.append(value)
        self._window.append(value)
        self._since_refresh += 1
        if self._since_refresh >= REFRESH_UPDATES or (self._baseline is None and len(self._window) >= LEAST):
            self._refresh()

    def flagged(self, observation: Observation) -> None:
        """Nothing: flagged values are never kept."""

    def restored(self) -> None:
        """The rates of the unfinished block prove nothing: the run went back."""
        self._rate.restored()

    def begin_anew(self) -> None:
        """Empty the window: the data have changed, or the rate has; where the run began stays known."""
        self._window.clear()
        self._best = math.inf
        self._baseline, self._since_refresh = None, 0
        self._limit = self._extreme = math.inf

    def forget(self) -> None:
        """Begin anew in every respect: the weights were redrawn."""
        self.begin_anew()
        self._first, self._highest = [], 0.0
        self._rate = RateWatch()

    @property
    def levels(self) -> LossLevels | None:
        """What the newest healthy values say; None where there are too few of them."""
        recent = list(self._window)[-RECENT:]
        if len(recent) < 2:
            return None
        middle = median_of_sorted(sorted(recent))
        spread = MAD_TO_SIGMA * median_of_sorted(sorted(abs(value - middle) for value in recent))
        began = median_of_sorted(sorted(self._first)) if self._first else middle
        return LossLevels(middle, spread, began, self._learnt(), min(self._window) > 0)

    def state_dict(self) -> dict[str, Any]:
        """The window, what was found in it, and where the run began."""
        return {
            "window": list(self._window),
            "first": list(self._first),
            "best": self._best,
            "highest": self._highest,
            "baseline": None if self._baseline is None else list(self._baseline),
            "since_refresh": self._since_refresh,
            "rate": asdict(self._rate),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self.begin_anew()
        self._window.extend(state["window"])
        self._first = list(state["first"])
        self._best, self._highest = state["best"], state["highest"]
        self._baseline = None if state["baseline"] is None else Baseline(*state["baseline"])
        self._since_refresh = state["since_refresh"]
        self._rate = RateWatch(**state["rate"])
        self._set_limits()

    def _signal(self, name: SignalName, value: float) -> Signal | None:
        baseline = self._baseline
        if baseline is None:
            return Signal(name, {self._quantity: value, "median": median_of_sorted(sorted(self._window))})
        return Signal(name, {self._quantity: value, "median": baseline.typical, "score": baseline.score(value)})

    def _learnt(self) -> float:
        if not self._first:
            return 0.0
        began = median_of_sorted(sorted(self._first))
        return max(0.0, began - min(self._best, began))

    def _refresh(self) -> None:
        if len(self._window) < self._warmup:
            self._set_limits()
            return
        self._since_refresh = 0
        recent = list(self._window)[-RECENT:]
        middle = median_of_sorted(sorted(recent))
        self._best, self._highest = min(self._best, middle), max(self._highest, middle)
        self._baseline = Baseline.of(self._window, quiet=QUIET, ahead=REFRESH_UPDATES)
        self._set_limits()

    def _set_limits(self) -> None:
        self._limit = self._extreme = math.inf
        recent = list(self._window)[-RECENT:]
        if len(recent) < LEAST:
            return
        largest, magnitude = max(recent), max(map(abs, recent))
        extreme = largest + (EXTREME[self._quantity] - 1) * magnitude if magnitude > 0 else math.inf
        if self._quantity == "loss":
            # What counts at all: a wobble far below where the run began is neither odd nor harm.
            extreme = max(extreme, largest + self._experiments.least_harm * self._learnt())
        else:
            # Likewise: one that is no larger than was usual before is neither.
            extreme = max(extreme, BEYOND_ALL * max(self._highest, median_of_sorted(sorted(recent))))
        odd = self._odd_limit()
        # What is extreme is odd too, before the window is warm as well: it is to be tried.
        self._limit = extreme if odd is None else odd
        self._extreme = max(self._limit, extreme)

    def _odd_limit(self) -> float | None:
        """What an odd value is above; None where too little is known."""
        baseline = self._baseline
        if baseline is None or baseline.magnitude == 0:
            return None
        edge = baseline.level + self._experiments.suspect_score * baseline.spread
        if baseline.logarithmic:
            edge = max(math.exp(min(edge, 700.0)), LEAST_RATIO[self._quantity] * baseline.typical)
        if self._quantity == "loss":
            return max(edge, baseline.typical + self._experiments.least_harm * self._learnt())
        return max(edge, self._highest)
