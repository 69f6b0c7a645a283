"""Taking a restore point of the run as it stands, and going back to one."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.policy import DataAfterReload
from supervisor.record.run_ledger import RunLedger
from supervisor.states.restore_point import RestorePoint
from supervisor.states.spare_copies import SpareCopies
from supervisor.training.data_position import DataPosition
from supervisor.training.state import Subject

__all__ = ["RestorePoints"]


@dataclass(frozen=True, slots=True)
class RestorePoints:
    """Binds the training objects, the data and the place in the schedule together.

    Attributes:
        subject: the training objects.
        data: where the data stand.
        ledger: where the run stands.
        spares: memory for the copies.
    """

    subject: Subject
    data: DataPosition
    ledger: RunLedger
    spares: SpareCopies

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
        )

    def go_back(self, point: RestorePoint, data: DataAfterReload) -> int:
        """Put everything back to a point; the data only under `replay`, where the batches since then come again.

        Returns:
            How many batches come again.
        """
        self.subject.restore(point.training)
        replay_until = 0
        if data is DataAfterReload.REPLAY and self.data.can_go_back:
            replay_until = self.data.batch_number
            self.data.seek(point.data)
        self.ledger.stands_at(point.step, point.applied_steps, point.useful_seconds, replay_until)
        return max(0, self.ledger.counters.replay_until - self.data.batch_number)
