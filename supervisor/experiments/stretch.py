"""A stretch: odd updates in a row that were accepted on trial, judged together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from supervisor.experiments.canaries import Canary
from supervisor.experiments.kept_batches import from_checkpoint, to_checkpoint
from supervisor.headroom import Headroom
from supervisor.records import Observation
from supervisor.training.state import Subject, TrainingState, VolatileState
from supervisor.training.tree import clone
from supervisor.update import Attempt

__all__ = ["Stretch"]

KEPT = 24
"""Odd updates whose batches are kept, to ask whether they can be learnt."""


@dataclass(slots=True)
class Stretch:
    """One stretch, from its first odd update on.

    Attributes:
        canaries: those of before it; they are frozen while it is open.
        pin: the state from before its first update; None where none is held.
        accepted: what its accepted updates measured.
        tried: the batches of those.
        extreme: whether the loss of one of them was extreme.
        harmed: how many of them left the canaries harmed.
        skipping: whether it proved harmful, so that odd batches are left out from there on.
        skipped: the batches of the odd updates that were left out, the newest ones.
        left_out: how many were, those included that had been accepted and were undone.
        asked_at: how many were when it was asked last whether they can be learnt.
        norm: the largest gradient norm with which an update of it was applied, after all clipping; 0 before the first.
    """

    canaries: tuple[Canary, ...]
    pin: TrainingState | None
    accepted: list[Observation] = field(default_factory=list, init=False)
    tried: list[tuple[Any, ...]] = field(default_factory=list, init=False)
    extreme: bool = field(default=False, init=False)
    harmed: int = field(default=0, init=False)
    skipping: bool = field(default=False, init=False)
    skipped: list[tuple[Any, ...]] = field(default_factory=list, init=False)
    left_out: int = field(default=0, init=False)
    asked_at: int = field(default=0, init=False)
    norm: float = field(default=0.0, init=False)

    def accept(self, seen: Observation, batches: tuple[Any, ...]) -> None:
        """One more update of it stands, so far."""
        self.accepted.append(seen)
        self.tried.append(batches)

    def prove_harmful(self) -> None:
        """What was accepted is undone, and odd updates are left out from here on."""
        self.skipping = True
        self.left_out += len(self.accepted)
        self.skipped = [*self.skipped, *self.tried][-KEPT:]
        self.accepted.clear()
        self.tried.clear()

    def leave_out(self, batches: tuple[Any, ...]) -> None:
        """One more odd update is left out."""
        self.left_out += 1
        self.skipped = [*self.skipped, batches][-KEPT:]

    def begun_again(self, pin: TrainingState | None) -> Self:
        """One whose odd updates are tried anew; those that were left out count on."""
        again = type(self)(self.canaries, pin)
        again.left_out, again.skipped, again.asked_at = self.left_out, self.skipped, self.asked_at
        return again

    def undo(self, attempt: Attempt, subject: Subject, over: int) -> None:
        """Put the pin back, and with it what the passes of all its updates have changed.

        Args:
            attempt: the present update.
            subject: the training objects.
            over: how many accepted updates go with it.
        """
        if self.pin is None:
            raise RuntimeError("a stretch without a pin cannot be undone")
        subject.restore(self.pin)
        # The update is discarded like any other: that would put back what was there before it alone.
        attempt.before = VolatileState.of(self.pin, attempt.before.training_modes)
        attempt.undone, attempt.gone_back_over = True, over

    def is_to_be_asked(self, after: int) -> bool:
        """Whether it is time to ask whether they can be learnt: after so many, and each time they have doubled."""
        if self.left_out < self._to_ask_at(after):
            return False
        self.asked_at = self.left_out
        return True

    def asks_next(self, after: int) -> bool:
        """Whether it will be with one more that is left out."""
        return self.left_out + 1 >= self._to_ask_at(after)

    def _to_ask_at(self, after: int) -> int:
        return max(after, 2 * self.asked_at)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds of it: all but batches that no checkpoint gives back.

        The pin goes with it, although that doubles the checkpoint. Without it, a run that is killed amid updates on
        trial would have to go back to its newest good state where they prove harmful.
        """
        return {
            "pin": None if self.pin is None else clone(self.pin.to_tree()),
            "canaries": [canary.update for canary in self.canaries],
            "accepted": [asdict(seen) for seen in self.accepted],
            "tried": _to_checkpoint(self.tried),
            "extreme": self.extreme,
            "harmed": self.harmed,
            "skipping": self.skipping,
            "skipped": _to_checkpoint(self.skipped),
            "left_out": self.left_out,
            "asked_at": self.asked_at,
            "norm": self.norm,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], kept: Sequence[Canary]) -> Self:
        """The stretch that a checkpoint holds.

        Args:
            state: what `state_dict` gave.
            kept: the canaries of that checkpoint.
        """
        measured = frozenset(state["canaries"])
        pin = None if state["pin"] is None else TrainingState.from_tree(state["pin"])
        stretch = cls(tuple(canary for canary in kept if canary.update in measured), pin)
        stretch.accepted = [_observed(seen) for seen in state["accepted"]]
        stretch.tried = [from_checkpoint(each) for each in state["tried"]]
        stretch.skipped = [from_checkpoint(each) for each in state["skipped"]]
        for name in ("extreme", "harmed", "skipping", "left_out", "asked_at"):
            setattr(stretch, name, state[name])
        stretch.norm = state.get("norm", 0.0)
        return stretch


def _to_checkpoint(updates: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [kept for kept in map(to_checkpoint, updates) if kept is not None]


def _observed(plain: Mapping[str, Any]) -> Observation:
    """The observation that `asdict` made plain."""
    room = plain.get("headroom")
    return Observation(**{**plain, "headroom": None if room is None else Headroom(**room)})
