"""What each process of a job has told, rank by rank."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from supervisor.events import schema
from supervisor.events.schema import Event

__all__ = ["RankRow", "Ranks"]


@dataclass(slots=True)
class RankRow:
    """One rank, or the parent, which has none.

    Attributes:
        rank: its number; None for the parent.
        first: time of its first line.
        last: time of its last line.
        step: the last step that it told of.
        loss: its loss there.
        step_seconds: wall time of its last update that was logged, in seconds.
        applied_seconds: wall time of all updates of its last process so far, in seconds.
        signals: findings that it has put on record.
    """

    rank: int | None
    first: datetime
    last: datetime
    step: int | None = None
    loss: float | None = None
    step_seconds: float | None = None
    applied_seconds: float | None = None
    signals: int = 0

    @property
    def name(self) -> str:
        """`rank 3`, or `parent`."""
        return "parent" if self.rank is None else f"rank {self.rank}"


class Ranks:
    """Takes in the events of a run, of all its files."""

    def __init__(self) -> None:
        self._rows: dict[int | None, RankRow] = {}

    def tell(self, event: Event, *, void: bool) -> None:
        """Take in the next event."""
        row = self._rows.get(event.rank)
        if row is None:
            row = self._rows[event.rank] = RankRow(event.rank, event.time, event.time)
        row.last = event.time
        if void:
            return
        match event:
            case schema.StepEvent():
                row.step, row.loss, row.step_seconds = event.step, event.loss, event.step_seconds
                row.applied_seconds = event.applied_seconds
            case schema.SignalEvent():
                row.signals += 1

    def rows(self) -> Iterable[RankRow]:
        """The ranks in order, the parent first."""
        return sorted(self._rows.values(), key=lambda row: -1 if row.rank is None else row.rank)
