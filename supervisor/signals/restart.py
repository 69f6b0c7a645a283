"""Notices a learning rate that jumps back up, as warm restarts make it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["JUMP", "RateWatch"]

JUMP = 1.5
"""A rate more than this many times the last one has jumped; schedules that climb do it in smaller steps."""

TOLERANCE = 1.01
"""A rate up to this many times the highest one that was in use counts as that one."""

PROVEN = 32
"""A rate counts as in use once a block of so many healthy updates has ended and the run did not go back in it."""


@dataclass(slots=True)
class RateWatch:
    """Tells the jump of a warm restart from a rate that was never in use before.

    After a warm restart, loss and gradients may be far above those at the end of the cycle before, and are meant to be.
    A jump beyond every rate that was in use is no restart, so that the windows stay as they are. Neither is a jump to
    a rate that the run went back from: a schedule with a mistake in it makes the same jump again.

    Attributes:
        last: the rate of the last healthy update, None before the first.
        highest: the highest rate that was in use.
        highest_in_block: likewise of the block of updates that is not finished.
        block: how many updates that block has.
    """

    last: float | None = None
    highest: float = 0.0
    highest_in_block: float = 0.0
    block: int = 0

    def restarted(self, rate: float | None) -> bool:
        """Note the rate of a healthy update; True when it is the first after a restart."""
        if rate is None:
            return False
        restarted = self.last is not None and JUMP * self.last < rate <= TOLERANCE * self.highest
        self.last = rate
        if not rate <= self.highest_in_block:
            self.highest_in_block = rate
        self.block += 1
        if self.block == PROVEN:
            self.highest = max(self.highest, self.highest_in_block)
            self.restored()
        return restarted

    def restored(self) -> None:
        """The run went back: the rates of the unfinished block prove nothing."""
        self.highest_in_block, self.block = 0.0, 0
