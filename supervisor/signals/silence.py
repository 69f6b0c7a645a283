"""Notices a training that goes on without learning: its loss stands still to the bit, or its rate is taken to nothing.

No batch is at fault, so that nothing is to be recovered from: each is a warning, once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["SilenceWatch", "Stepping"]

Stepping = Literal["by_step", "by_loss"]
"""How a scheduler that steps after every update chooses the rate: by a plan, or by the loss it is handed."""

SAME_UPDATES = 300
"""A loss that is the same to the bit in so many applied updates in a row stands still; quantised ones do for a few."""

NOTHING = 1e-4
"""A rate below this part of the highest one so far is as good as none."""

EARLY_STEPS = 1000
"""A rate that falls so low within so many steps fell early."""

EARLY_PART = 0.05
"""So did one that does within this part of the run, where its end is known."""

STAYS_STEPS = 50
"""A planned rate must stay low for so many steps: warm restarts end each of their cycles with a few such steps."""

_EPOCHS = 'write scheduler_interval="epoch" (an argument of `Guard`; in a job, an attribute of the trainer)'


@dataclass(slots=True)
class SilenceWatch:
    """Follows the loss and the learning rate of the applied updates.

    It is no part of a checkpoint: after a resume it begins anew, and a rate that is low by then is its highest.

    Attributes:
        stepping: how the scheduler chooses the rate, None where none steps after every update: the rate is not watched.
        end: where the run ends, None while that is not known.
    """

    stepping: Stepping | None = None
    end: int | None = field(default=None, init=False)
    _loss: float = field(default=math.nan, init=False)
    _same: int = field(default=1, init=False)
    _stood_still: bool = field(default=False, init=False)
    _highest: float = field(default=0.0, init=False)
    _floor: float = field(default=0.0, init=False)
    _low_since: int | None = field(default=None, init=False)
    _fell: bool = field(default=False, init=False)

    def accept(self, step: int, loss: float, rate: float | None) -> bool:
        """Note an applied update; True where `findings` may have something to say. Every healthy step comes by here."""
        if loss == self._loss:
            self._same += 1
        else:
            self._loss, self._same = loss, 1
        if rate is None or self._floor <= rate <= self._highest:
            if self._low_since is not None:
                self._low_since = None
            return self._same == SAME_UPDATES
        return self._moved(step, rate) or self._same == SAME_UPDATES

    def findings(self, step: int, grad_norm: float, highest_rate: float) -> list[str]:
        """What is to be said after `accept` was True.

        Args:
            step: the update's.
            grad_norm: its gradient norm.
            highest_rate: of all parameter groups: a rate of 0 freezes one of several on purpose.
        """
        found = []
        if self._same >= SAME_UPDATES and not self._stood_still:
            self._stood_still = True
            found.append(_standing_still(self._loss, grad_norm, highest_rate))
        if self._fell_early(step):
            if highest_rate < self._floor:
                self._fell = True
                found.append(self._fallen(step, highest_rate))
            else:
                self._low_since = None
        return found

    def _moved(self, step: int, rate: float) -> bool:
        """Note a rate that is the highest so far, or so low that it may be said."""
        if rate < self._floor:
            if self._low_since is None:
                self._low_since = step
            return self._fell_early(step)
        self._low_since = None
        if rate > self._highest:
            self._highest, self._floor = rate, rate * NOTHING
        return False

    def _fell_early(self, step: int) -> bool:
        since, end = self._low_since, self.end
        if since is None or self._fell or self.stepping is None:
            return False
        early = since < EARLY_STEPS or (end is not None and since < EARLY_PART * end)
        if self.stepping == "by_loss":
            # It never raises the rate again, and knows no end that it could be near to.
            return early
        # In the second half of the run a rate may be meant to be that low.
        return early and step - since >= STAYS_STEPS and (end is None or 2 * since < end)

    def _fallen(self, step: int, rate: float) -> str:
        fell = f"the learning rate fell from {self._highest:.3g} to {rate:.3g} within {step + 1} steps"
        if self.stepping == "by_loss":
            mend = f"{_EPOCHS}, to hand it the mean loss of each epoch, or raise its `patience`"
            return f"{fell}: ReduceLROnPlateau is handed the loss of every batch, which varies by chance: {mend}"
        mend = f"{_EPOCHS}, or multiply them by the batches of an epoch"
        return f"{fell} and stays there: the scheduler steps with every batch: if its numbers count epochs, {mend}"


def _standing_still(loss: float, grad_norm: float, rate: float) -> str:
    stands = f"the loss has been exactly {loss:.9g} for {SAME_UPDATES} updates in a row"
    masked = "every label is masked (`ignore_index`, a mask of zeros)"
    if loss == 0:
        return f"{stands}: everything is learnt, or nothing is counted: look whether {masked}"
    if grad_norm == 0:
        return f"{stands} and its gradient is 0: look whether {masked}, or the model's output is constant"
    mend = f"look at the learning rate ({rate:.3g}) and whether the optimizer holds the model's parameters"
    return f"{stands}: unless it has converged, with batches that are all the same, {mend}"
