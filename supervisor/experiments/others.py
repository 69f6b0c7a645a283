"""How other batches fare on the state that an update was discarded from."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.errors import ActionError
from supervisor.experiments.fork import drawn_updates, fresh
from supervisor.experiments.no_trace import updates_undone
from supervisor.records import Observation
from supervisor.training.data_position import DataPosition
from supervisor.training.state import Subject
from supervisor.update import Attempt, Executor

__all__ = ["OtherBatches"]


@dataclass(frozen=True, slots=True)
class OtherBatches:
    """Runs the passes of the updates that are to come, one after the other from the same state, and leaves no trace.

    Attributes:
        subject: the training objects.
        executor: runs the passes.
        data: gives the batches, and takes them back.
        accumulate: batches an update.
    """

    subject: Subject
    executor: Executor
    data: DataPosition
    accumulate: int

    def observed(self, attempt: Attempt, count: int) -> list[Observation] | None:
        """What so many other updates measure in place of an attempt, each from the state before it.

        Returns:
            None where none can be had: the loss may not be called again, the caller draws the batches, or the data give
            no more of them.
        """
        if self.executor.no_replay is not None:
            return None
        found = []
        try:
            with drawn_updates(self.data, count, self.accumulate) as updates, updates_undone(self.subject) as around:
                before = self.subject.capture_volatile()
                for batches in updates:
                    found.append(self.executor.replay(fresh(batches), attempt.place))
                    around.put_back()
                    self.subject.restore_volatile(before)
        except ActionError:
            return None
        return found
