"""A step that was flagged and is healthy when it is run again: what differed, as far as further replays tell."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from supervisor.diagnosis.replay import Replays
from supervisor.records import Observation
from supervisor.update import Attempt

__all__ = ["Repeated", "Repeating"]


@dataclass(frozen=True, slots=True)
class Repeated:
    """What further replays showed.

    Attributes:
        what: in words.
        deterministic: whether two replays agreed to the bit.
        attributes: plain attributes of modules that no state holds, with which the loss changes.
    """

    what: str
    deterministic: bool
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Repeating:
    """Looks into a step whose first replay was healthy.

    Attributes:
        attempt: the update.
        replays: runs it again; the first replay is its last.
    """

    attempt: Attempt
    replays: Replays

    def look(self, first: Observation) -> Repeated:
        """Run the step again, as often as it takes to tell.

        Args:
            first: what the first replay measured.
        """
        same, loss = "the same step, run again from the same state, is healthy", self.attempt.seen.loss
        if math.isfinite(loss) and loss == first.loss:
            return Repeated(f"{same}, with the very loss it had: what flagged it has not come again", True)
        gradients = self.replays.gradients()
        # As the first replay has left them: what a pass leaves in plain attributes would show.
        second = self.replays.run(self.attempt.batches, go_on=True)
        if self._repeats(first, gradients, second):
            return Repeated(f"{same}, and two replays agree to the bit: what made it bad has not come again", True)
        changed = self.replays.attributes.changed()
        if changed and self.replays.left > 0:
            third = self.replays.run(self.attempt.batches)
            if self._repeats(first, gradients, third):
                names = ", ".join(changed[:5]) + (" ..." if len(changed) > 5 else "")
                what = (
                    f"{same}; a second replay differs from the first, and a third is like it once {names} is put back: "
                    "the loss depends on something that no state holds, plain attributes of modules"
                )
                return Repeated(what, False, changed)
        return Repeated(
            f"{same}, and two replays differ: it draws or reads something that no state holds, or is not deterministic",
            False,
        )

    def _repeats(self, first: Observation, gradients: dict[str, Tensor], other: Observation) -> bool:
        return _same_bits(first.loss, other.loss) and _same_tensors(gradients, self.replays.gradients())


def _same_bits(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _same_tensors(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
