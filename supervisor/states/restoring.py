"""Going back to the newest good state that proves sound."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.actions import Restored
from supervisor.checkpoints import Kept
from supervisor.errors import ActionError
from supervisor.policy import DataAfterReload
from supervisor.records import Observation
from supervisor.states.canary import Canaries, CanaryVerdict
from supervisor.states.good_states import GoodStates
from supervisor.states.restore_points import RestorePoint, RestorePoints, Source
from supervisor.training.inspection import StateCheck

__all__ = ["Restoring"]


@dataclass(frozen=True, slots=True)
class Restoring:
    """Puts a good state back, and passes over those that prove bad.

    Attributes:
        states: the good states.
        points: goes back to one.
        check: finds what is not finite in one.
        canaries: tell whether one is sound.
    """

    states: GoodStates
    points: RestorePoints
    check: StateCheck
    canaries: Canaries

    @property
    def any_good(self) -> bool:
        """Whether there is a good state at all."""
        return self.states.any_good

    @property
    def newest_good_step(self) -> int | None:
        """Schedule position of the state that would be put back, None where there is none."""
        held = [*(kept for kept, _ in self.states.memory), *(self.states.disk or ())]
        return max((kept.step for kept in held if kept.good), default=None)

    def restore(self, data: DataAfterReload, answered: Observation | None) -> Restored:
        """Put the newest good state back; one that proves bad is passed over for the next older.

        One on which its canary batch gives another loss is passed over too, where an older one proves sound. Where none
        does, the loss depends on what no state holds, or the machine is at fault: the newest is as good as any.

        Args:
            data: whether the batches since then come again.
            answered: the flagged update, for the record.

        Raises:
            ActionError: none could be restored.
        """
        doubtful: list[tuple[Kept, RestorePoint, Source]] = []
        for kept, point, source in self.states.newest_good():
            reason = self.points.subject.misfit(point.training)
            bad = () if reason else self.check.bad_in(point.training)
            if reason or bad:
                self.states.reject(kept, source, reason or f"non-finite: {', '.join(bad)}")
                continue
            self.points.subject.restore(point.training)
            verdict = self.canaries.try_on(kept.update, kept.step, answered)
            if verdict is CanaryVerdict.DIFFERENT or (doubtful and verdict is not CanaryVerdict.SOUND):
                doubtful.append((kept, point, source))
                continue
            for damaged, _, held in doubtful:
                self.states.reject(damaged, held, "a batch that was healthy on it gives another loss")
            return self._settled(point, source, data)
        if doubtful:
            _, point, source = doubtful[0]
            return self._settled(point, source, data)
        raise ActionError("no good state could be restored")

    def go_back_to(self, point: RestorePoint) -> Restored:
        """Put back a good state that is known to be sound; the data go on where they are."""
        held = any(kept.update == point.update for kept, _ in self.states.memory)
        return self._settled(point, "memory" if held else "disk", DataAfterReload.ADVANCE)

    def _settled(self, point: RestorePoint, source: Source, data: DataAfterReload) -> Restored:
        # It is put back once more: what was tried on it has moved it.
        coming = self.points.go_back(point, data)
        self.states.abandon_after(point.step)
        return Restored(point.step, source, coming)
