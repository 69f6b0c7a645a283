"""What a run went through, taken from its event log: flagged updates, incidents, and the lives of its workers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from supervisor.events import schema
from supervisor.events.schema import Event
from supervisor.faults import FaultRecord
from supervisor.report.account import Accounting

__all__ = ["Flagged", "Happened", "History", "IncidentSeen", "Moment"]

RESTART = "restart"

AnEvent = TypeVar("AnEvent", bound=Event)


class Moment(NamedTuple):
    """When something happened; moments are in order. No time of day is asked, for a clock may be set.

    Attributes:
        life: which life of the worker it was in, from 1; 0 before the first.
        seconds: since the first event of the run.
    """

    life: int
    seconds: float


class Happened(NamedTuple, Generic[AnEvent]):
    """An event, and when it was."""

    event: AnEvent
    at: Moment


@dataclass
class IncidentSeen:
    """One incident, and how it ended: by an action, by `halt`, by a restart, or not at all (None)."""

    id: int
    cured_by: str | None = None


@dataclass
class Flagged:
    """One flagged update.

    Attributes:
        life: which life of the worker it was in, from 1.
        step: schedule position.
        update: attempted update.
        at: when its first signal was logged, in seconds since the first event.
        signals: names of its signals.
        incident: the incident it belongs to, None while nothing was decided.
        cause: kind of cause that its diagnosis found.
        diagnosis_seconds: what the diagnosis took.
        answered_at: when its last action had done its work, likewise.
        restored_step: where that action went back to, None where it did not.
        flagged_before: of the steps that it went back over, those that were flagged: each counts by itself.
    """

    life: int
    step: int
    update: int
    at: float
    signals: set[str] = field(default_factory=set)
    incident: IncidentSeen | None = None
    cause: str | None = None
    diagnosis_seconds: float = 0.0
    answered_at: float | None = None
    restored_step: int | None = None
    flagged_before: int = 0

    @property
    def steps_lost(self) -> int:
        """The step itself, and those that its action went back over."""
        return 1 + (0 if self.restored_step is None else max(0, self.step - self.restored_step - self.flagged_before))

    @property
    def seconds_answering(self) -> float:
        """Wall time of its diagnosis and of what was done about it."""
        acting = self.answered_at - self.at if self.answered_at is not None else 0.0
        return self.diagnosis_seconds + max(0.0, acting)


class History:
    """Reads the events of a run once, in order.

    Args:
        events: all of them, also those that a resume made void.

    Attributes:
        flagged: the flagged updates, in order.
        processes: stalls and exits of workers, in order.
        resumes: for each life of the worker but the first, the event it began with.
        rejected: checkpoints that were read and could not be trusted.
        saved: checkpoints committed.
        warnings: what a person should know.
        losses: of the `step` events of the run as it counts, in order.
        metrics: the last evaluation.
        ended: the event the run ended with, None where it did not.
        account: where the wall time went.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        self.flagged: list[Flagged] = []
        self.processes: list[Happened[schema.WorkerExitedEvent | schema.WorkerStalledEvent]] = []
        self.resumes: list[Happened[schema.RunStartedEvent | schema.RunResumedEvent]] = []
        self.rejected: list[Happened[schema.CheckpointRejectedEvent]] = []
        self.saved: list[Happened[schema.CheckpointSavedEvent]] = []
        self.warnings: list[Happened[schema.WarningEvent]] = []
        self.losses: dict[int, float] = {}
        self.metrics: dict[str, float] = {}
        self.ended: schema.RunFinishedEvent | schema.RunHaltedEvent | None = None
        # What the lives began with: when by the time of day, and which.
        self._lives: list[tuple[datetime, int]] = []
        # For each life what its monotonic clock has to be moved by to give the seconds since the first event.
        self._clocks: dict[int, float] = {}
        self._first: datetime | None = None
        self._now = Moment(0, 0.0)
        self._by_update: dict[tuple[int, int], Flagged] = {}
        self._incidents: dict[int, IncidentSeen] = {}
        # Of the steps used up so far, those whose update was flagged.
        self._flagged_steps: set[int] = set()
        accounting = Accounting()
        for event in events:
            accounting.tell(event)
            self._tell_time(event, accounting.timeline.now)
            self._tell(event)
        self.account = accounting.account

    def moment_of(self, record: FaultRecord) -> Moment:
        """When a fault struck, among the events.

        Records without a life, or without a monotonic clock, are placed by the time of day.
        """
        life = record.life
        if not life:
            before = bisect_right(self._lives, record.time, key=lambda begun: begun[0])
            life = self._lives[before - 1][1] if before else 0
        if record.monotonic is not None and life in self._clocks:
            return Moment(life, record.monotonic + self._clocks[life])
        return Moment(life, 0.0 if self._first is None else (record.time - self._first).total_seconds())

    def resumed_after(self, life: int) -> Happened[schema.RunStartedEvent | schema.RunResumedEvent] | None:
        """What the next life began with."""
        return next((each for each in self.resumes if each.at.life > life), None)

    def _tell_time(self, event: Event, seconds: float) -> None:
        self._first = self._first or event.time
        begins = isinstance(event, schema.RunStartedEvent | schema.RunResumedEvent)
        # Where no parent has counted the lives, their beginnings are counted.
        life = event.life or len(self._lives) + begins
        if begins:
            self._lives.append((event.time, life))
        if event.rank is not None and event.monotonic is not None:
            self._clocks.setdefault(life, seconds - event.monotonic)
        self._now = Moment(life, seconds)

    def _tell(self, event: Event) -> None:
        match event:
            case schema.RunStartedEvent() | schema.RunResumedEvent():
                self._tell_life(event)
            case schema.WorkerExitedEvent() | schema.WorkerStalledEvent():
                self._tell_process(event)
            case schema.CheckpointRejectedEvent():
                self.rejected.append(Happened(event, self._now))
            case schema.CheckpointSavedEvent():
                self.saved.append(Happened(event, self._now))
            case schema.WarningEvent():
                self.warnings.append(Happened(event, self._now))
            case schema.StepEvent(step=int(step)):
                self.losses[step] = event.loss
            case schema.MetricsEvent():
                self.metrics = event.metrics
            case schema.RunFinishedEvent() | schema.RunHaltedEvent():
                self.ended = event
            case _:
                self._tell_recovery(event)

    def _tell_life(self, event: schema.RunStartedEvent | schema.RunResumedEvent) -> None:
        if len(self._lives) > 1:
            self.resumes.append(Happened(event, self._now))
        if isinstance(event, schema.RunResumedEvent):
            self._go_back(event.checkpoint_step)

    def _tell_process(self, event: schema.WorkerExitedEvent | schema.WorkerStalledEvent) -> None:
        self.processes.append(Happened(event, self._now))
        if isinstance(event, schema.WorkerExitedEvent) and event.classification not in schema.ORDERLY_EXITS:
            for incident in self._incidents.values():
                incident.cured_by = incident.cured_by or RESTART

    def _tell_recovery(self, event: Event) -> None:
        flagged = self._at(event, create=isinstance(event, schema.SignalEvent | schema.DiagnosisEvent))
        match event:
            case schema.SignalEvent() if flagged is not None:
                flagged.signals.add(str(event.signal))
            case schema.DiagnosisEvent() if flagged is not None:
                flagged.cause = str(event.kind)
                flagged.diagnosis_seconds += event.seconds
            case schema.IncidentOpenedEvent():
                self._incidents[event.incident] = IncidentSeen(event.incident)
            case schema.DecisionEvent() if flagged is not None:
                incident = self._incidents.setdefault(event.incident, IncidentSeen(event.incident))
                flagged.incident = incident
                self._flagged_steps.add(flagged.step)
                if str(event.action) == "halt":
                    incident.cured_by = "halt"
            case schema.ActionAppliedEvent() if flagged is not None:
                flagged.answered_at = self._now.seconds
                flagged.restored_step = event.restored_step
                if event.restored_step is not None:
                    gone_over = range(event.restored_step, flagged.step)
                    flagged.flagged_before = sum(step in gone_over for step in self._flagged_steps)
                    self._go_back(event.restored_step)
            case schema.IncidentClosedEvent() if event.incident in self._incidents:
                self._incidents[event.incident].cured_by = str(event.cured_by)

    def _go_back(self, kept: int) -> None:
        self.losses = {step: loss for step, loss in self.losses.items() if step < kept}
        self._flagged_steps = {step for step in self._flagged_steps if step < kept}

    def _at(self, event: Event, *, create: bool = False) -> Flagged | None:
        if event.update is None or event.step is None:
            return None
        key = (self._now.life, event.update)
        if create and key not in self._by_update:
            self._by_update[key] = Flagged(key[0], event.step, event.update, self._now.seconds)
            self.flagged.append(self._by_update[key])
        return self._by_update.get(key)
