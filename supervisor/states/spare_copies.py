"""Memory of copies that nobody needs any more: fresh memory costs more than the copy itself."""

from __future__ import annotations

from collections import Counter

from supervisor.states.restore_point import RestorePoint
from supervisor.training.state import TrainingState

__all__ = ["SpareCopies"]


class SpareCopies:
    """Knows who holds which copy, and gives the memory of one away when its last holder lets it go."""

    def __init__(self) -> None:
        self._holders: Counter[int] = Counter()
        self._spare: TrainingState | None = None

    def take(self) -> TrainingState | None:
        """A copy to be written over; None where there is none."""
        spare, self._spare = self._spare, None
        return spare

    def hold(self, point: RestorePoint) -> None:
        """Its memory is needed, by one more holder."""
        self._holders[id(point.training)] += 1

    def let_go(self, point: RestorePoint) -> None:
        """One holder needs it no more."""
        self._holders[id(point.training)] -= 1
        if self._holders[id(point.training)] <= 0:
            del self._holders[id(point.training)]
            self._spare = point.training
