"""Weights whose norms fall faster than training lets them fall, which neither loss nor gradients need show."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

from supervisor.policy import WeightWatch
from supervisor.records import Observation, Signal, SignalName
from supervisor.signals.nonfinite import NAMED

__all__ = ["WeightDetector"]

ENTRIES = 2
"""Earlier norms that the present ones are compared with, half a window apart."""

CHANGES = 8
"""Changes of a norm over a window that are kept to tell what is usual for it, half a window apart."""

OWN = 2
"""How many of the newest changes are left out: the fall that is being judged may be in them."""

UNUSUAL = 2.0
"""How many times the largest earlier change a fall has to be, in natural-log units."""


class WeightDetector:
    """Flags a weight whose norm has fallen by more than `fall` within `window_updates` updates, as it had not before.

    The relative change of a norm is a lower bound of the update ratio, the size of the updates relative to the weight,
    and it comes free with the state check. Training moves norms slowly, and mostly up; where it does not (a high rate,
    an initialisation that is too large), a fall has to be twice as large as any change of that norm in the windows
    before. The steps up to `warmup_updates` after the first check are never judged, not even when the run has gone back
    to them. If checks are further apart than the window, the bound grows with the distance: what counts is the rate.
    """

    def __init__(self, policy: WeightWatch) -> None:
        self._policy = policy
        self._entries: deque[tuple[int, dict[str, float]]] = deque(maxlen=ENTRIES)
        self._changes: deque[dict[str, float]] = deque(maxlen=CHANGES)
        self._first_step: int | None = None

    def inspect(self, observation: Observation) -> Signal | None:
        """`divergence` with the weights that fell, the norm of the one that fell furthest and what it was before."""
        norms = observation.weight_norms
        if norms is None or self._first_step is None:
            return None
        if observation.step - self._first_step < self._policy.warmup_updates:
            return None
        fallen: dict[str, float] = {}
        for update, before in self._entries:
            least_share = self._least_share(observation.update - update)
            for name, norm in norms.items():
                earlier = before.get(name, 0.0)
                if norm < least_share * earlier and norm < earlier * self._usual_share(name):
                    fallen[name] = max(earlier, fallen.get(name, 0.0))
        if not fallen:
            return None
        names = tuple(sorted(fallen, key=lambda name: norms[name] / fallen[name]))
        return Signal(
            SignalName.DIVERGENCE,
            {
                "tensors": names[:NAMED],
                "tensor_count": len(names),
                "weight_norm": norms[names[0]],
                "weight_norm_before": fallen[names[0]],
            },
        )

    def accept(self, observation: Observation) -> None:
        """Keep the norms of a healthy check, if the last ones kept are half a window old."""
        norms = observation.weight_norms
        if norms is None:
            return
        if self._first_step is None:
            self._first_step = observation.step
        if not self._entries or 2 * (observation.update - self._entries[-1][0]) >= self._policy.window_updates:
            if self._entries:
                before = self._entries[0][1]
                both = [name for name, norm in norms.items() if norm > 0 and before.get(name, 0.0) > 0]
                self._changes.append({name: abs(math.log(norms[name] / before[name])) for name in both})
            self._entries.append((observation.update, dict(norms)))

    def flagged(self, observation: Observation) -> None:
        """Nothing: norms of a flagged step are never kept."""

    def restored(self) -> None:
        """Drop the earlier norms: they are no measure for the weights of the older state that was put back."""
        self._entries.clear()

    def forget(self) -> None:
        """Begin anew: the weights were redrawn."""
        self._entries.clear()
        self._changes.clear()
        self._first_step = None

    def state_dict(self) -> dict[str, Any]:
        """The norms kept, with their updates, and the step of the first check."""
        return {
            "entries": [[update, dict(norms)] for update, norms in self._entries],
            "changes": [dict(changes) for changes in self._changes],
            "first_step": self._first_step,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self._entries = deque(((update, dict(norms)) for update, norms in state["entries"]), maxlen=ENTRIES)
        self._changes = deque((dict(changes) for changes in state["changes"]), maxlen=CHANGES)
        self._first_step = state["first_step"]

    def _usual_share(self, name: str) -> float:
        """What a fall must leave less of, to be unlike what the norm has done before."""
        earlier = list(self._changes)[:-OWN]
        largest = max((changes.get(name, 0.0) for changes in earlier), default=0.0)
        return math.exp(-UNUSUAL * largest)

    def _least_share(self, updates: int) -> float:
        """What must be left of a norm after so many updates."""
        return float((1 - self._policy.fall) ** max(1.0, updates / self._policy.window_updates))
