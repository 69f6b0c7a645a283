"""What trials may cost: a share of the passes of the training itself, and more where something is plainly wrong."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FORWARD", "PassBudget"]

FORWARD = 1 / 3
"""A forward pass, in updates."""

AT_FIRST = 8.0
"""Updates' worth of experiments that a run may begin with."""

AT_MOST = 24.0
"""How much it may save up, and how deep it may go into debt for what is urgent."""

WARY_UPDATES = 64
"""Updates after harm was found, or the run went back, in which every suspicion is urgent."""

ALWAYS_EACH = 12
"""Of odd updates in a row that could not be paid for, one in so many is tried all the same."""


@dataclass(slots=True)
class PassBudget:
    """Counts what was saved up, in updates.

    An odd update now and then is noise, of which as many are tried as are paid for. Two in a row, one that is far off,
    and whatever comes soon after harm was found are urgent: they may be owed for.

    Attributes:
        share: what each update adds.
        credit: what is left.
        odd_in_a_row: odd updates since the last one that was not.
        wary: healthy updates to come in which every suspicion is urgent.
    """

    share: float
    credit: float = AT_FIRST
    odd_in_a_row: int = 0
    wary: int = 0

    def healthy(self) -> None:
        """An update was made in which nothing was odd."""
        self.credit = min(AT_MOST, self.credit + self.share)
        self.odd_in_a_row = 0
        self.wary = max(0, self.wary - 1)

    def alarmed(self) -> None:
        """Harm was found, or the run went back."""
        self.wary = WARY_UPDATES

    def allows(self, cost: float, *, far_off: bool) -> bool:
        """Whether one more odd update is to be tried.

        Args:
            cost: of the trial, in updates.
            far_off: its values are plainly out of the ordinary.
        """
        self.odd_in_a_row += 1
        urgent = far_off or self.wary > 0 or self.odd_in_a_row > 1
        least = -AT_MOST if urgent else 0.0
        return self.credit - cost >= least or self.odd_in_a_row % ALWAYS_EACH == 0

    def spend(self, cost: float) -> None:
        """An experiment was made."""
        self.credit -= cost
