"""Which states are good, and how far the others are on their probation."""

from __future__ import annotations

import math
from collections.abc import Iterator

from supervisor.checkpoints import Kept, surplus

__all__ = ["Probation"]


class Probation:
    """What is known of each state of one kind, by update, which tells every state of a run apart.

    A state is good once enough healthy steps in a row have followed it. Healthy steps are added up and counted only
    when they may make a difference, since nearly every step is one.

    Args:
        steps: healthy steps in a row until a state is good; 0: at once.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._held: dict[int, Kept] = {}
        self._uncounted = 0
        self._needed: float = math.inf

    def __iter__(self) -> Iterator[Kept]:
        """Every state, the oldest first."""
        self._count()
        return iter(tuple(self._held.values()))

    def __contains__(self, update: int) -> bool:
        return update in self._held

    def __getitem__(self, update: int) -> Kept:
        self._count()
        return self._held[update]

    def add(self, kept: Kept) -> Kept:
        """Hold a state, on probation unless it is good already."""
        self._count()
        kept = Kept(kept.step, kept.update, kept.good or self._steps == 0, kept.healthy_steps)
        self._held[kept.update] = kept
        self._count()
        return kept

    def remove(self, update: int) -> None:
        """Let one go."""
        del self._held[update]

    def healthy_step(self) -> bool:
        """Count a healthy step.

        Returns:
            Whether there are states that have seen enough of them and are not good yet.
        """
        self._uncounted += 1
        if self._uncounted < self._needed:
            return False
        self._count()
        return bool(self.passed())

    def passed(self) -> list[Kept]:
        """The states that have seen enough healthy steps and are not good yet."""
        return [kept for kept in self if not kept.good and kept.healthy_steps >= self._steps]

    def promote(self, update: int) -> None:
        """One is good from now on."""
        kept = self[update]
        self._held[update] = Kept(kept.step, update, True, kept.healthy_steps)

    def begin_anew(self, update: int | None = None) -> None:
        """A flagged update breaks the row of healthy steps, of one state or of all that are on probation."""
        for kept in self:
            if not kept.good and update in (None, kept.update):
                self._held[kept.update] = Kept(kept.step, kept.update, False)
        self._count()

    def surplus(self, keep: int, held: frozenset[int] | None = None) -> list[Kept]:
        """Those to let go, of all or of the updates in `held` (see `checkpoints.surplus`)."""
        return surplus([kept for kept in self if held is None or kept.update in held], keep)

    def _count(self) -> None:
        waiting = [kept for kept in self._held.values() if not kept.good]
        if self._uncounted:
            waiting = [Kept(kept.step, kept.update, False, kept.healthy_steps + self._uncounted) for kept in waiting]
            self._held.update((kept.update, kept) for kept in waiting)
            self._uncounted = 0
        self._needed = min((self._steps - kept.healthy_steps for kept in waiting), default=math.inf)
