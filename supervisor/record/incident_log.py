"""The incident log: what went wrong and what was done, as events when it happens and as one file an incident."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from supervisor.actions import Effect
from supervisor.diagnosis import Diagnosis
from supervisor.engine import Closed
from supervisor.events import EventLog
from supervisor.events.incident_file import CureRow, IncidentCost, IncidentFile
from supervisor.events.schema import (
    ActionAppliedEvent,
    ActionFailedEvent,
    DecisionEvent,
    DiagnosisEvent,
    IncidentClosedEvent,
    IncidentOpenedEvent,
    LrRestoredEvent,
    SignalEvent,
)
from supervisor.evidence import Evidence
from supervisor.records import NOTHING_FOUND, Decision, Incident, Observation, Signal
from supervisor.run_layout import RunLayout, replace_file

__all__ = ["IncidentLog"]


@dataclass(frozen=True, slots=True)
class IncidentLog:
    """Writes down what the ledger knows; it remembers nothing itself.

    Attributes:
        log: hears of everything.
        layout: where the files of incidents go; None to write none.
    """

    log: EventLog
    layout: RunLayout | None

    def signals(self, signals: Sequence[Signal], observation: Observation) -> None:
        """Put findings on record."""
        for signal in signals:
            event = SignalEvent.from_signal(signal, step=observation.step, update=observation.update)
            self.log.emit(event)

    def opened(self, incident: int, signals: Sequence[Signal], observation: Observation) -> None:
        """An incident was opened by these findings."""
        names = tuple(signal.name for signal in signals)
        event = IncidentOpenedEvent(step=observation.step, update=observation.update, incident=incident, signals=names)
        self.log.emit(event)

    def diagnosed(self, incident: int, diagnosis: Diagnosis, observation: Observation) -> None:
        """A flagged update was looked into; a diagnosis that failed is a warning."""
        if diagnosis.cause is not None:
            self.log.emit(DiagnosisEvent.from_cause(diagnosis.cause, incident=incident))
            return
        if diagnosis.brief:
            return
        message = f"the cause of incident {incident} is not known: {diagnosis.failure or NOTHING_FOUND}"
        self.log.warn(message, observation.step, observation.update, spoken=False)

    def decided(
        self,
        decision: Decision,
        observation: Observation,
        blocked: Mapping[int, str],
        *,
        can_retry: bool = False,
        evidence: Evidence | None = None,
    ) -> None:
        """An action was chosen."""
        event = DecisionEvent.from_decision(
            decision,
            step=observation.step,
            update=observation.update,
            blocked=blocked,
            can_retry=can_retry,
            evidence=evidence,
        )
        self.log.emit(event)

    def failed(self, decision: Decision, error: str, observation: Observation) -> None:
        """An action could not do its work."""
        event = ActionFailedEvent(
            step=observation.step,
            update=observation.update,
            incident=decision.incident,
            action=decision.action,
            error=error,
        )
        self.log.emit(event)

    def applied(
        self, decision: Decision, effect: Effect, observation: Observation, lr_scale: float | None, seconds: float
    ) -> None:
        """An action did its work; `lr_scale` where it changed."""
        restored = effect.restored
        event = ActionAppliedEvent(
            step=observation.step,
            update=observation.update,
            incident=decision.incident,
            action=decision.action,
            seconds=seconds,
            restored_step=None if restored is None else restored.step,
            restored_from=None if restored is None else restored.source,
            replayed_batches=0 if restored is None else restored.replayed_batches,
            lr_scale=lr_scale,
            modules=effect.modules or None,
        )
        self.log.emit(event)

    def closed(self, closed: Closed, incident: Incident | None, observation: Observation, lr_scale: float) -> None:
        """Healthy steps have closed an incident, or taken cuts of the learning rate back."""
        step, update = observation.step, observation.update
        if incident is not None and incident.cured_by is not None:
            event = IncidentClosedEvent(
                step=step,
                update=update,
                incident=incident.id,
                cured_by=incident.cured_by,
                steps_lost=incident.steps_lost,
                seconds=incident.seconds,
            )
            self.log.emit(event)
            self.write(incident)
        if closed.cuts_taken_back:
            self.log.emit(LrRestoredEvent(step=step, update=update, lr_scale=lr_scale))

    def write(self, incident: Incident | None) -> None:
        """Write an incident's file, whole or not at all; a disk that refuses is a warning."""
        if self.layout is None or incident is None:
            return
        record = IncidentFile(
            id=incident.id,
            opened_at_step=incident.opened_at_step,
            closed_at_step=incident.closed_at_step,
            signals=incident.signals,
            decisions=incident.decisions,
            outcome=incident.outcome,
            cured_by=incident.cured_by,
            cost=IncidentCost(steps_lost=incident.steps_lost, seconds=incident.seconds),
            # Only what its first flagged update showed opened it.
            cause=next((c for c in incident.causes if c.update == incident.opened_at_update), None),
            later_causes=tuple(c for c in incident.causes if c.update != incident.opened_at_update),
            bundle=incident.bundle,
            traceback=incident.traceback,
            cures=tuple(CureRow.model_validate(asdict(cure)) for cure in incident.cures),
            not_known=incident.not_known,
        )
        folder = self.layout.incident(incident.id)
        try:
            replace_file(folder / "incident.json", record.model_dump_json(indent=2) + "\n")
        except OSError as error:
            self.log.warn(f"{folder.name}/incident.json could not be written: {error.strerror}")
