"""What a run went through, taken from its event log: flagged updates, incidents, and the lives of its workers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from supervisor.events import schema
from supervisor.events.schema import Event

__all__ = ["Flagged", "History", "IncidentSeen"]

RESTART = "restart"


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
        at: when its first signal was logged.
        signals: names of its signals.
        incident: the incident it belongs to, None while nothing was decided.
        cause: kind of cause that its diagnosis found.
        diagnosis_seconds: what the diagnosis took.
        answered_at: when its last action had done its work.
        restored_step: where that action went back to, None where it did not.
        flagged_before: of the steps that it went back over, those that were flagged: each counts by itself.
    """

    life: int
    step: int
    update: int
    at: datetime
    signals: set[str] = field(default_factory=set)
    incident: IncidentSeen | None = None
    cause: str | None = None
    diagnosis_seconds: float = 0.0
    answered_at: datetime | None = None
    restored_step: int | None = None
    flagged_before: int = 0

    @property
    def steps_lost(self) -> int:
        """The step itself, and those that its action went back over."""
        return 1 + (0 if self.restored_step is None else max(0, self.step - self.restored_step - self.flagged_before))

    @property
    def seconds_answering(self) -> float:
        """Wall time of its diagnosis and of what was done about it."""
        acting = (self.answered_at - self.at).total_seconds() if self.answered_at is not None else 0.0
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
        began_at: when the first life began to train.
        trained_until: when the last one was done with it; the time of the closing evaluation is taken off.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        self.flagged: list[Flagged] = []
        self.processes: list[schema.WorkerExitedEvent | schema.WorkerStalledEvent] = []
        self.resumes: list[schema.RunStartedEvent | schema.RunResumedEvent] = []
        self.rejected: list[schema.CheckpointRejectedEvent] = []
        self.saved: list[schema.CheckpointSavedEvent] = []
        self.warnings: list[schema.WarningEvent] = []
        self.losses: dict[int, float] = {}
        self.metrics: dict[str, float] = {}
        self.ended: schema.RunFinishedEvent | schema.RunHaltedEvent | None = None
        self.began_at: datetime | None = None
        self.trained_until: datetime | None = None
        self._lives: list[datetime] = []
        self._by_update: dict[tuple[int, int], Flagged] = {}
        self._incidents: dict[int, IncidentSeen] = {}
        # Of the steps used up so far, those whose update was flagged.
        self._flagged_steps: set[int] = set()
        self._evaluated_for = timedelta()
        for event in events:
            self._tell(event)

    def life_at(self, time: datetime) -> int:
        """Which life of the worker a time falls into, from 1; 0 before the first."""
        return bisect_right(self._lives, time)

    def resumed_after(self, time: datetime) -> schema.RunStartedEvent | schema.RunResumedEvent | None:
        """What the next life began with."""
        return next((event for event in self.resumes if event.time > time), None)

    def _tell(self, event: Event) -> None:
        if event.rank is not None:
            self.trained_until = event.time
        match event:
            case schema.RunStartedEvent() | schema.RunResumedEvent():
                self._tell_life(event)
            case schema.WorkerExitedEvent() | schema.WorkerStalledEvent():
                self._tell_process(event)
            case schema.CheckpointRejectedEvent():
                self.rejected.append(event)
            case schema.CheckpointSavedEvent():
                self.saved.append(event)
            case schema.WarningEvent():
                self.warnings.append(event)
            case schema.StepEvent(step=int(step)):
                self.losses[step] = event.loss
            case schema.MetricsEvent():
                self.metrics = event.metrics
                self._evaluated_for += timedelta(seconds=event.seconds)
            case schema.RunFinishedEvent() | schema.RunHaltedEvent():
                self.ended = event
                self.trained_until = event.time - self._evaluated_for
            case _:
                self._tell_recovery(event)

    def _tell_life(self, event: schema.RunStartedEvent | schema.RunResumedEvent) -> None:
        self.began_at = self.began_at or event.time
        self._lives.append(event.time)
        if len(self._lives) > 1:
            self.resumes.append(event)
        if isinstance(event, schema.RunResumedEvent):
            self._go_back(event.checkpoint_step)

    def _tell_process(self, event: schema.WorkerExitedEvent | schema.WorkerStalledEvent) -> None:
        self.processes.append(event)
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
                flagged.answered_at = event.time
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
        key = (len(self._lives), event.update)
        if create and key not in self._by_update:
            self._by_update[key] = Flagged(key[0], event.step, event.update, event.time)
            self.flagged.append(self._by_update[key])
        return self._by_update.get(key)
