"""Notices a learning rate that jumps back up, as warm restarts make it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["JUMP", "RateWatch"]

JUMP = 1.5
"""A rate more than this many times the last one has jumped; schedules that climb do it in smaller steps."""

TOLERANCE = 1.01
"""A rate up to this many times the highest one that was in use counts as that one."""

PROVEN = 32
"""A rate counts as in use once a block of so many healthy updates has ended and the run did not go back in it."""


class RateWatch:
    """Tells the jump of a warm restart from a rate that was never in use before.

    After a warm restart, loss and gradients may be far above those at the end of the cycle before, and are meant to be.
    A jump beyond every rate that was in use is no restart, so that the windows stay as they are. Neither is a jump to
    a rate that the run went back from: a schedule with a mistake in it makes the same jump again.
    """

    def __init__(self) -> None:
        self._last: float | None = None
        self._highest = 0.0
        self._highest_in_block = 0.0
        self._block = 0

    def restarted(self, rate: float | None) -> bool:
        """Note the rate of a healthy update; True when it is the first after a restart."""
        if rate is None:
            return False
        restarted = self._last is not None and JUMP * self._last < rate <= TOLERANCE * self._highest
        self._last = rate
        if not rate <= self._highest_in_block:
            self._highest_in_block = rate
        self._block += 1
        if self._block == PROVEN:
            self._highest = max(self._highest, self._highest_in_block)
            self.restored()
        return restarted

    def restored(self) -> None:
        """The run went back: the rates of the unfinished block prove nothing."""
        self._highest_in_block, self._block = 0.0, 0

    def state_dict(self) -> dict[str, Any]:
        """The last and the highest rate, and the block that is not finished."""
        return {
            "last": self._last,
            "highest": self._highest,
            "highest_in_block": self._highest_in_block,
            "block": self._block,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self._last, self._highest = state["last"], state["highest"]
        self._highest_in_block, self._block = state["highest_in_block"], state["block"]
