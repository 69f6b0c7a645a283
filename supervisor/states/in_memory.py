"""Restore points in memory."""

from __future__ import annotations

from collections.abc import Iterator

from supervisor.checkpoints import Kept
from supervisor.states.probation import Probation
from supervisor.states.restore_points import RestorePoint, SpareCopies

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
        self._spares = spares
        self._probation = Probation(probation_steps)
        self._points: dict[int, RestorePoint] = {}

    def __iter__(self) -> Iterator[tuple[Kept, RestorePoint]]:
        """Every snapshot, the oldest first."""
        return ((kept, self._points[kept.update]) for kept in self._probation)

    @property
    def updates(self) -> tuple[int, ...]:
        """Which states are held, by update."""
        return tuple(self._points)

    def remember(self, point: RestorePoint, *, good: bool = False) -> None:
        """Hold a finite state, on probation unless it is good already."""
        if self._keep == 0:
            return
        if point.update in self._points:
            self.remove(point.update)
        self._spares.hold(point)
        self._points[point.update] = point
        self._probation.add(Kept(point.step, point.update, good))
        self.last_remembered = point.update
        self._trim()

    def healthy_step(self) -> None:
        """Count one healthy step for those on probation, and promote those that have seen enough."""
        if self._probation.healthy_step():
            for kept in self._probation.passed():
                self._probation.promote(kept.update)
            self._trim()

    def flagged_step(self) -> None:
        """Make those on probation count their healthy steps anew."""
        self._probation.begin_anew()
        self._trim()

    def remove(self, update: int) -> None:
        """Let one go."""
        self._probation.remove(update)
        self._spares.let_go(self._points.pop(update))

    def abandon_after(self, step: int) -> None:
        """Let go of every state newer than `step`, and of those on probation."""
        for kept in self._probation:
            if kept.step > step or not kept.good:
                self.remove(kept.update)

    def _trim(self) -> None:
        for kept in self._probation.surplus(self._keep):
            self.remove(kept.update)
