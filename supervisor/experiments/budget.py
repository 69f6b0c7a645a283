"""What experiments may cost: a share of the passes of the training itself."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FORWARD", "PassBudget"]

FORWARD = 1 / 3
"""A forward pass, in updates."""

AT_FIRST = 8.0
"""Updates' worth of experiments that a run may begin with."""

AT_MOST = 24.0
"""How much it may save up, and how deep it may go into debt for what is plainly suspicious."""


@dataclass(slots=True)
class PassBudget:
    """Counts what was saved up, in updates.

    Attributes:
        share: what each update adds.
        credit: what is left.
    """

    share: float
    credit: float = AT_FIRST

    def earn(self, updates: int = 1) -> None:
        """So many updates were made."""
        self.credit = min(AT_MOST, self.credit + self.share * updates)

    def affords(self, cost: float, *, urgent: bool = False) -> bool:
        """Whether an experiment may be made; an urgent one may be owed for."""
        return self.credit - cost >= (-AT_MOST if urgent else 0.0)

    def spend(self, cost: float) -> None:
        """An experiment was made."""
        self.credit -= cost
