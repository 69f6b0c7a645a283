"""Restore points in memory."""

from __future__ import annotations

from collections.abc import Iterator

from supervisor.checkpoints import Kept, surplus
from supervisor.states.restore_point import RestorePoint
from supervisor.states.spare_copies import SpareCopies

__all__ = ["StatesInMemory"]


class StatesInMemory:
    """Holds the newest snapshots, on probation or good.

    Args:
        keep: how many good ones are kept; 0: none at all.
        probation_steps: healthy steps in a row until one is good.
        spares: told what is held.

    Attributes:
        last_remembered: the update of the newest snapshot, None before the first.
    """

    def __init__(self, keep: int, probation_steps: int, spares: SpareCopies) -> None:
        self.last_remembered: int | None = None
        self._keep = keep
        self._probation_steps = probation_steps
        self._spares = spares
        # By update, which tells every state of a run apart.
        self._held: dict[int, tuple[Kept, RestorePoint]] = {}

    def __iter__(self) -> Iterator[tuple[Kept, RestorePoint]]:
        """Every snapshot, oldest first."""
        return iter(tuple(self._held.values()))

    @property
    def updates(self) -> tuple[int, ...]:
        """Which states are held, by update."""
        return tuple(self._held)

    def remember(self, point: RestorePoint, *, good: bool = False) -> None:
        """Hold a finite state, on probation unless it is good already."""
        if self._keep == 0:
            return
        replaced = self._held.pop(point.update, None)
        if replaced is not None:
            self._spares.let_go(replaced[1])
        self._spares.hold(point)
        kept = Kept(point.step, point.update, good or self._probation_steps == 0)
        self._held[point.update] = (kept, point)
        self.last_remembered = point.update
        self._trim()

    def healthy_step(self) -> None:
        """Count one healthy step for those on probation, and promote those that have seen enough."""
        promoted = False
        for update, (kept, point) in self._held.items():
            if not kept.good:
                kept = kept.after_healthy_step()
                if kept.healthy_steps >= self._probation_steps:
                    kept, promoted = kept.promoted(), True
                self._held[update] = (kept, point)
        if promoted:
            self._trim()

    def flagged_step(self) -> None:
        """Make those on probation count their healthy steps anew."""
        self._held = {update: (kept.after_flagged_step(), point) for update, (kept, point) in self._held.items()}
        self._trim()

    def remove(self, update: int) -> None:
        """Let one go."""
        _, point = self._held.pop(update)
        self._spares.let_go(point)

    def abandon_after(self, step: int) -> None:
        """Let go of every state newer than `step`, and of those on probation."""
        for update, (kept, _) in tuple(self._held.items()):
            if kept.step > step or not kept.good:
                self.remove(update)

    def _trim(self) -> None:
        for kept in surplus([kept for kept, _ in self._held.values()], self._keep):
            self.remove(kept.update)
