"""What became of each checkpoint of a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from supervisor.events import schema
from supervisor.events.schema import Event

__all__ = ["CheckpointRow", "Checkpoints"]


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """One checkpoint.

    Attributes:
        step: schedule position of its state.
        path: relative to the run directory.
        saved: when it was committed; None where no line tells.
        good_at_step: the step at which it was promoted; None where it never was.
        why_gone: why it was rejected or left behind; None where it was not.
        best: the value for which it is kept as the best, with its metric.
    """

    step: int
    path: str
    saved: datetime | None = None
    good_at_step: int | None = None
    why_gone: str | None = None
    best: str | None = None

    @property
    def state(self) -> str:
        """`rejected`, `good` or `on probation`."""
        return "rejected" if self.why_gone is not None else "on probation" if self.good_at_step is None else "good"


class Checkpoints:
    """Takes in the events of a run; those that a resume made void too, for what was written is there."""

    def __init__(self) -> None:
        self._rows: list[CheckpointRow] = []
        self._newest: dict[str, int] = {}

    def tell(self, event: Event) -> None:
        """Take in the next event."""
        match event:
            case schema.CheckpointSavedEvent():
                # The same path again is another checkpoint.
                self._newest[event.path] = len(self._rows)
                self._rows.append(CheckpointRow(event.checkpoint_step, event.path, event.time))
            case schema.CheckpointPromotedEvent():
                self._change(event, good_at_step=event.step if event.step is not None else event.checkpoint_step)
            case schema.CheckpointRejectedEvent():
                self._change(event, why_gone=event.reason)
            case schema.BestCheckpointEvent():
                self._change(event, best=f"{event.metric} {event.value:.4g}")

    def rows(self) -> Iterable[CheckpointRow]:
        """Those of the run, oldest first."""
        return tuple(self._rows)

    def _change(
        self,
        event: schema.CheckpointPromotedEvent | schema.CheckpointRejectedEvent | schema.BestCheckpointEvent,
        **changes: int | str | None,
    ) -> None:
        index = self._newest.get(event.path)
        if index is None:
            index = self._newest[event.path] = len(self._rows)
            self._rows.append(CheckpointRow(event.checkpoint_step, event.path))
        self._rows[index] = replace(self._rows[index], **changes)  # type: ignore[arg-type]
