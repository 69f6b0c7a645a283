"""The rows of the tables: what the CSV and the Parquet sink write, each in its own way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from supervisor.display import writable
from supervisor.events import schema
from supervisor.events.schema import Event
from supervisor.sinks.base import Memory, Sink
from supervisor.sinks.incidents import Incident, Incidents

__all__ = ["COLUMNS", "GROWING", "Cell", "Row", "TableSink", "TableStore"]

Cell = float | int | str | None
Row = tuple[Cell, ...]

COLUMNS: Mapping[str, Mapping[str, type]] = {
    "steps": {
        "step": int,
        "update": int,
        "time": str,
        "loss": float,
        "grad_norm": float,
        "lr": float,
        "lr_scale": float,
        "step_seconds": float,
        "rung": int,
        "incidents": int,
    },
    "evaluations": {"step": int, "update": int, "time": str, "metric": str, "value": float},
    "incidents": {
        "incident": int,
        "step": int,
        "update": int,
        "opened": str,
        "outcome": str,
        "signals": str,
        "cause": str,
        "actions": str,
        "cured_by": str,
        "steps_lost": int,
        "seconds": float,
        "reason": str,
    },
}
"""The columns of each table, with the type of their cells; any cell may be empty."""

GROWING = ("steps", "evaluations")
"""Tables that grow by rows at their end; that of the incidents is short, and written anew."""

UPDATE = 1
"""Which cell of a row of a growing table is the update."""


class TableStore(Protocol):
    """Where tables are kept."""

    def open(self, memory: Memory) -> None:
        """Go back to what `flush` gave last, whatever was written since."""
        ...

    def append(self, table: str, row: Row) -> None:
        """Add a row to a table that grows."""
        ...

    def take_back(self, update: int) -> None:
        """Drop the rows of that update and of later ones."""
        ...

    def replace(self, table: str, rows: list[Row]) -> None:
        """Write a table anew."""
        ...

    def flush(self) -> Memory:
        """Have all of it on the disk; what `open` is to be given."""
        ...

    def close(self) -> None:
        """Let go of the files."""
        ...


class TableSink(Sink):
    """Tables of steps, evaluations and incidents. They hold what counts: what a resume takes back is dropped.

    Args:
        store: where they are kept.
    """

    recalls = True

    def __init__(self, store: TableStore) -> None:
        self._store = store
        self._incidents = Incidents()
        # By number; of those that are not kept as incidents any more the rows stay.
        self._rows: dict[int, Row] = {}
        self._changed = False

    def open(self, memory: Memory) -> str | None:
        """Go on with what was kept last."""
        self._store.open(memory)
        return None

    def recall(self, event: Event, *, void: bool) -> None:
        """Take note of what belongs to incidents."""
        self._take_in(event, void)

    def tell(self, event: Event, *, void: bool) -> None:
        """Add the rows of an event."""
        self._take_in(event, void)
        if void:
            return
        match event:
            case schema.RunStartedEvent():
                self._store.take_back(0)
            case schema.RunResumedEvent(update=int(update)):
                self._store.take_back(update)
            case schema.StepEvent():
                at = (event.step, event.update, _time(event))
                numbers = (event.loss, event.grad_norm, event.lr, event.lr_scale, event.step_seconds)
                self._store.append("steps", (*at, *numbers, event.rung, event.incidents))
            case schema.MetricsEvent():
                for name, value in event.metrics.items():
                    row = (event.step, event.update, _time(event), writable(name), value)
                    self._store.append("evaluations", row)

    def flush(self) -> Memory:
        """Have the tables on the disk."""
        if self._changed:
            self._store.replace("incidents", [*self._rows.values()])
            self._changed = False
        return self._store.flush()

    def close(self) -> None:
        """Let go of the files."""
        self._store.close()

    def _take_in(self, event: Event, void: bool) -> None:
        self._incidents.tell(event, void=void)
        if isinstance(event, schema.RunStartedEvent | schema.RunResumedEvent):
            first = 0 if isinstance(event, schema.RunStartedEvent) else event.update or 0
            self._rows = {number: row for number, row in self._rows.items() if not _at_or_above(row, first)}
            touched = self._incidents.all
        elif isinstance(event, schema.RunHaltedEvent):
            touched = self._incidents.all[-1:]
        else:
            number = getattr(event, "incident", None)
            touched = [each for each in self._incidents.all[-2:] if each.number == number]
        self._rows |= {incident.number: _row(incident) for incident in touched}
        self._changed = self._changed or bool(touched) or isinstance(event, schema.RunResumedEvent)


def _row(incident: Incident) -> Row:
    closed = incident.ended if isinstance(incident.ended, schema.IncidentClosedEvent) else None
    halted = incident.ended if isinstance(incident.ended, schema.RunHaltedEvent) else None
    return (
        incident.number,
        incident.opened.step,
        incident.opened.update,
        _time(incident.opened),
        incident.outcome.value,
        " ".join(incident.signals),
        incident.cause,
        " ".join(incident.actions),
        None if closed is None else closed.cured_by.value,
        None if closed is None else closed.steps_lost,
        None if closed is None else closed.seconds,
        None if halted is None else writable(halted.reason),
    )


def _at_or_above(row: Row, update: int) -> bool:
    at = row[[*COLUMNS["incidents"]].index("update")]
    return isinstance(at, int) and at >= update


def _time(event: Event) -> str:
    return event.time.isoformat(timespec="microseconds")
