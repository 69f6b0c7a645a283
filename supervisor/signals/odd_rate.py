"""A learning rate far above all before it: a reason to try the update, whatever its loss looks like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from supervisor.records import Observation, Signal, SignalName

__all__ = ["OddRate"]

FACTOR = 3.0
"""How many times the highest rate so far an odd one is. A warm-up rises by less from its second update on."""

AGAIN = 64
"""Healthy updates after which a rate that was refused is tried again; twice as many each time that it is refused."""

LEAST = 8
"""Healthy updates to see before any rate is odd."""


class OddRate:
    """Finds the first update at a rate that is more than three times as high as any before it.

    Its loss and its gradients are ordinary: they were computed before the rate had any effect. Once an update at that
    rate was applied and did no harm, the rate is known. Where it did harm, the rate is refused: it is held at the
    highest one so far, until the schedule gives one that is not odd. From time to time it is tried again: some rates do
    harm for a while, and train better then.

    Attributes:
        refusals: how often it was refused.
    """

    def __init__(self) -> None:
        self._highest = 0.0
        self._updates = 0
        self._refused = self._trying = False
        self._waited = self.refusals = 0

    def suspect(self, observation: Observation) -> Signal | None:
        """`odd_update` for an odd rate, with the highest one so far."""
        rate = observation.lr
        if rate is None or self._updates < LEAST or not self._is_odd(rate):
            return None
        if self._refused and self._waited < AGAIN * 2 ** (self.refusals - 1):
            return None
        self._trying = True
        return Signal(SignalName.ODD_UPDATE, {"lr": rate, "highest_lr": self._highest})

    def accept(self, observation: Observation) -> None:
        """An update at this rate did no harm."""
        self._updates += 1
        self._waited += 1
        if observation.lr is None or (self._refused and not self._trying and self._is_odd(observation.lr)):
            return
        self._highest = max(self._highest, observation.lr)
        self._refused = self._trying = False

    def refuse(self) -> None:
        """An update at an odd rate did harm."""
        self._refused, self._trying = True, False
        self._waited, self.refusals = 0, self.refusals + 1

    def factor(self, rate: float | None) -> float:
        """What a rate is to be multiplied by, so that one that was refused stays at the highest one so far; else 1."""
        held = self._refused and not self._trying and rate is not None and self._is_odd(rate)
        return self._highest / rate if held and rate is not None else 1.0

    def _is_odd(self, rate: float) -> bool:
        return 0 < FACTOR * self._highest < rate

    def state_dict(self) -> dict[str, Any]:
        """What it remembers, as plain values."""
        return {
            "highest": self._highest,
            "updates": self._updates,
            "refused": self._refused,
            "waited": self._waited,
            "refusals": self.refusals,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self._highest, self._updates, self._refused = state["highest"], state["updates"], state["refused"]
        self._waited, self.refusals = state["waited"], state["refusals"]
        self._trying = False
