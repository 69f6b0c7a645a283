"""What a reload goes back to: a restore point, the memory it is copied into, taking one and going back to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from supervisor.experiments import Memory, Windows
from supervisor.policy import DataAfterReload
from supervisor.record.run_ledger import RunLedger
from supervisor.training.data_position import DataPosition
from supervisor.training.state import Subject, TrainingState

__all__ = ["RestorePoint", "RestorePoints", "Source", "SpareCopies", "last_update"]

Source = Literal["memory", "disk"]


@dataclass(frozen=True, slots=True)
class RestorePoint:
    """A state a run can go back to.

    Attributes:
        step: steps done.
        update: updates attempted.
        applied_steps: updates applied on the way there.
        useful_seconds: wall time of those updates.
        training: the state of the training objects.
        data: position in the data (`DataCursor.position`).
        memory: the windows and canaries that describe the state; a checkpoint holds them elsewhere.
    """

    step: int
    update: int
    applied_steps: int
    useful_seconds: float
    training: TrainingState
    data: dict[str, Any]
    memory: Memory | None = None

    def to_tree(self) -> dict[str, Any]:
        """Nested dicts for a checkpoint."""
        tree = {name: getattr(self, name) for name in self.__slots__ if name != "memory"}
        return {**tree, "training": self.training.to_tree()}

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any], memory: Memory | None = None) -> RestorePoint:
        """The inverse of `to_tree`; KeyError when a field is missing."""
        fields = {name: tree[name] for name in cls.__slots__ if name != "memory"}
        return cls(**{**fields, "training": TrainingState.from_tree(tree["training"])}, memory=memory)


def last_update(update: int) -> int | None:
    """The last update attempted before the next is `update`; a line about it survives a resume from there."""
    return update - 1 if update else None


class SpareCopies:
    """Knows who holds which copy, and gives the memory of one away when its last holder lets it go.

    Fresh memory costs more than the copy itself.
    """

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


@dataclass(frozen=True, slots=True)
class RestorePoints:
    """Binds the training objects, the data and the place in the schedule together.

    Attributes:
        subject: the training objects.
        data: where the data stand.
        ledger: where the run stands.
        spares: memory for the copies.
        windows: what describes the state; None where nothing does.
    """

    subject: Subject
    data: DataPosition
    ledger: RunLedger
    spares: SpareCopies
    windows: Windows | None = None

    def take(self) -> RestorePoint:
        """The run as it stands now."""
        counters = self.ledger.counters
        return RestorePoint(
            step=counters.step,
            update=counters.update,
            applied_steps=counters.applied_steps,
            useful_seconds=counters.useful_seconds,
            training=self.subject.capture(self.spares.take()),
            data=self.data.position(),
            memory=None if self.windows is None else self.windows.remember(),
        )

    def go_back(self, point: RestorePoint, data: DataAfterReload) -> int:
        """Put everything back to a point; the data only under `replay`, where the batches since then come again.

        Returns:
            How many batches come again.
        """
        self.subject.restore(point.training)
        if self.windows is not None and point.memory is not None:
            self.windows.recall(point.memory)
        replay_until = 0
        if data is DataAfterReload.REPLAY and self.data.can_go_back:
            replay_until = self.data.batch_number
            self.data.seek(point.data)
        self.ledger.stands_at(point.step, point.applied_steps, point.useful_seconds, replay_until)
        return max(0, self.ledger.counters.replay_until - self.data.batch_number)
