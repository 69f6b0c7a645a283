"""Runs whose loss is no better than that of a model that says nothing, at a time when training should show.

Plain numbers say whether it is worth asking; only the loss of zeros, for which the user's code is called, gives the
finding. A run whose weights were drawn at a usual scale and whose loss falls, or stays where it was, is never asked
about.
"""

from __future__ import annotations

import enum
import math
import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from supervisor.records import Observation, Signal, SignalName

__all__ = ["NotLearning", "Scales", "not_learning_signal"]

AFTER_UPDATES = 120
"""Healthy updates without a rise of the nominal rate, after which it is looked at, once."""

FIRST, RECENT = 8, 32
"""How many losses at the start, and lately, are compared."""

RISE = 1.1
"""The recent losses have risen when their median is more than this many times that of the first ones."""

EXPLODED = 3.0
"""They have likewise where it is more than this many times the least of the first ones: those may have exploded too."""

FACTOR = 1.5
"""How many times the loss of zeros the median loss has to be."""


SLOW = 0.7
"""What is left of the first losses where weights that were drawn too small are in the way."""

HINTED = 0.75
"""The same where something else speaks against the start: weights of a wrong scale, or a loss that was lower before."""

LOST = 2.0
"""A loss was lower before where it is more than this many times the lowest median of eight in a row."""


def not_learning_signal(
    losses: Sequence[float], zero_losses: Sequence[float], *, hinted: bool = False
) -> Signal | None:
    """The finding, from the losses of some updates and those of the same batches with zeros for the output.

    Args:
        losses: of the updates.
        zero_losses: of the same batches with zeros for the output.
        hinted: whether something else speaks against the start.
    """
    loss, zero_loss = statistics.median(losses), statistics.median(zero_losses)
    if loss <= (HINTED if hinted else FACTOR) * zero_loss:
        return None
    return Signal(SignalName.NOT_LEARNING, {"loss": loss, "loss_of_zeros": zero_loss})


class Scales(enum.Enum):
    """At which scale the weights were drawn."""

    USUAL = enum.auto()
    SMALL = enum.auto()
    """All far too small."""
    LARGE = enum.auto()
    """Some far too large."""


class NotLearning:
    """Follows the losses of healthy updates until the time has come to look at them, and no longer.

    Attributes:
        over: nothing more will be asked.
        lost: whether the losses were far lower before than at the time that they were looked at.
    """

    def __init__(self) -> None:
        self.over = self.lost = False
        self._best = math.inf
        self._first: list[float] = []
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._highest_rate = -math.inf
        self._updates = 0

    def accept(self, observation: Observation) -> None:
        """Take a healthy update into account. Losses below zero end it: they cannot be compared by factors."""
        if self.over:
            return
        if not (math.isfinite(observation.loss) and observation.loss >= 0):
            self.over = True
            return
        if len(self._first) < FIRST:
            self._first.append(observation.loss)
        self._recent.append(observation.loss)
        if self._updates % FIRST == 0 and len(self._recent) >= FIRST:
            self._best = min(self._best, statistics.median(list(self._recent)[-FIRST:]))
        rate = observation.lr
        self._updates += 1
        if rate is not None and rate > self._highest_rate:
            self._highest_rate, self._updates = rate, 0

    def asks(self, *, scales: Scales = Scales.USUAL) -> bool:
        """Whether the loss of zeros is to be looked at now; a time that has come and gives no reason ends it.

        Args:
            scales: at which the weights were drawn.
        """
        if self.over or self._updates < AFTER_UPDATES or len(self._recent) < RECENT:
            return False
        self.over = True
        recent, first = statistics.median(self._recent), self._first
        self.lost = recent > LOST * self._best
        if scales is Scales.LARGE:
            # The first losses are no measure.
            return True
        slow = scales is Scales.SMALL and recent > SLOW * statistics.median(first)
        return slow or self.lost or recent > RISE * statistics.median(first) or recent > EXPLODED * min(first)

    def state_dict(self) -> dict[str, Any]:
        """What it remembers, as plain values."""
        return {
            "over": self.over,
            "lost": self.lost,
            "best": None if self._best == math.inf else self._best,
            "first": list(self._first),
            "recent": list(self._recent),
            "highest_rate": None if self._highest_rate == -math.inf else self._highest_rate,
            "updates": self._updates,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self.over, self._first = state["over"], list(state["first"])
        self.lost, best = state.get("lost", False), state.get("best")
        self._best = math.inf if best is None else best
        self._recent = deque(state["recent"], maxlen=RECENT)
        self._highest_rate = -math.inf if state["highest_rate"] is None else state["highest_rate"]
        self._updates = state["updates"]
