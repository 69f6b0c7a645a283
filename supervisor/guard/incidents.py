"""The record of what went wrong and what was done: events as they happen, one file an incident, counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from supervisor.actions import Effect
from supervisor.clock import Clock
from supervisor.diagnosis import Diagnosis
from supervisor.engine import Closed, EngineState
from supervisor.events import EventLog
from supervisor.events.incident_file import Bundle, IncidentCost, IncidentFile
from supervisor.events.schema import (
    ActionAppliedEvent,
    ActionFailedEvent,
    DecisionEvent,
    DiagnosisEvent,
    IncidentClosedEvent,
    IncidentOpenedEvent,
    SignalEvent,
    WarningEvent,
)
from supervisor.records import (
    ActionName,
    Cause,
    CauseKind,
    Decision,
    Incident,
    Observation,
    Outcome,
    Signal,
    SignalName,
)

__all__ = ["IncidentBook"]


class IncidentBook:
    """Keeps the open incident and the counts of the closed ones.

    Args:
        log: hears of everything.
        directory: `RUN_DIR/incidents`, or None to write no files.
        clock: for durations.
    """

    def __init__(self, log: EventLog, directory: Path | None, clock: Clock) -> None:
        self._log = log
        self._directory = directory
        self._clock = clock
        self._incident: Incident | None = None
        self._traceback: str | None = None
        self._bundle: Bundle | None = None
        self._opened_at = 0.0
        self.by_signal: Counter[SignalName] = Counter()
        self.cured_by: Counter[ActionName] = Counter()

    def signals(self, signals: Sequence[Signal], observation: Observation) -> None:
        """Put findings on record."""
        for signal in signals:
            event = SignalEvent.from_signal(signal, step=observation.step, update=observation.update)
            self._log.emit(event)

    @property
    def replays(self) -> int:
        """How often steps of the open incident were run again to find their causes; 0 where none is open."""
        return 0 if self._incident is None else self._incident.replays

    @property
    def causes(self) -> tuple[Cause, ...]:
        """What the diagnoses of the open incident found, in order."""
        return () if self._incident is None else self._incident.causes

    def opens(self, incident: int) -> bool:
        """Whether an incident of this number is yet to be opened."""
        return self._incident is None or self._incident.id != incident

    def opened(self, incident: int, signals: Sequence[Signal], observation: Observation, bundle: Bundle | None) -> None:
        """Open an incident with its first findings and put that on record."""
        self._incident = Incident(incident, observation.step, observation.update)
        self._opened_at = self._clock.monotonic()
        self._traceback, self._bundle = None, bundle
        names = tuple(signal.name for signal in signals)
        self.by_signal[names[0]] += 1
        event = IncidentOpenedEvent(step=observation.step, update=observation.update, incident=incident, signals=names)
        self._log.emit(event)

    def diagnosed(self, diagnosis: Diagnosis, observation: Observation) -> None:
        """Put what looking into a flagged update came to on record; a diagnosis that failed is a warning."""
        incident = self._incident
        if incident is None:
            raise ValueError("no incident is open")
        cause = diagnosis.cause
        causes = incident.causes if cause is None else (*incident.causes, cause)
        self._incident = replace(incident, causes=causes, replays=incident.replays + diagnosis.replays)
        if cause is not None:
            self._log.emit(DiagnosisEvent.from_cause(cause, incident=incident.id))
        else:
            why = diagnosis.failure or "nothing that it looks for was found"
            message = f"the cause of incident {incident.id} is not known: {why}"
            self._log.emit(WarningEvent(step=observation.step, update=observation.update, message=message))

    def decided(
        self,
        decision: Decision,
        signals: Sequence[Signal],
        observation: Observation,
        blocked: Mapping[int, str],
        traceback: str | None,
        *,
        can_retry: bool = False,
    ) -> None:
        """Put a decision in the open incident on record. The flagged step is lost."""
        if self._incident is None:
            raise ValueError("no incident is open")
        names = [signal.name for signal in signals]
        self._traceback = self._traceback or traceback
        self._incident = replace(
            self._incident,
            signals=tuple(dict.fromkeys((*self._incident.signals, *names))),
            decisions=(*self._incident.decisions, decision),
            steps_lost=self._incident.steps_lost + 1,
        )
        event = DecisionEvent.from_decision(
            decision, step=observation.step, update=observation.update, blocked=blocked, can_retry=can_retry
        )
        self._log.emit(event)

    def decided_again(
        self,
        failed: Decision,
        error: str,
        decision: Decision,
        observation: Observation,
        blocked: Mapping[int, str],
    ) -> None:
        """Put a failed action and the decision that follows it on record."""
        event = ActionFailedEvent(
            step=observation.step,
            update=observation.update,
            incident=failed.incident,
            action=failed.action,
            error=error,
        )
        self._log.emit(event)
        if self._incident is not None:
            self._incident = replace(self._incident, decisions=(*self._incident.decisions, decision))
        again = DecisionEvent.from_decision(decision, step=observation.step, update=observation.update, blocked=blocked)
        self._log.emit(again)

    def applied(
        self,
        decision: Decision,
        effect: Effect,
        observation: Observation,
        lr_scale: float | None,
        seconds: float,
    ) -> None:
        """Put an action that did its work on record."""
        restored = effect.restored
        if restored is not None and self._incident is not None:
            back = max(0, observation.step - restored.step)
            self._incident = replace(self._incident, steps_lost=self._incident.steps_lost + back)
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
        self._log.emit(event)
        self._write()

    def closed(self, closed: Closed, step: int, update: int) -> None:
        """Put the end of a cured incident on record."""
        if self._incident is None or closed.cured_by is None:
            return
        self._incident = self._ended(step, Outcome.RECOVERED, closed.cured_by)
        self.cured_by[closed.cured_by] += 1
        event = IncidentClosedEvent(
            step=step,
            update=update,
            incident=self._incident.id,
            cured_by=closed.cured_by,
            steps_lost=self._incident.steps_lost,
            seconds=self._incident.seconds,
        )
        self._log.emit(event)
        self._write()
        self._incident, self._traceback, self._bundle = None, None, None

    def halted(self, step: int) -> None:
        """Note that the run ended in this incident."""
        if self._incident is not None:
            self._incident = self._ended(step, Outcome.HALTED, None)
            self._write()

    def state_dict(self) -> dict[str, Any]:
        """The open incident and the counts, as plain values."""
        incident = None if self._incident is None else asdict(self._incident)
        seconds = 0.0 if self._incident is None else self._clock.monotonic() - self._opened_at
        return {
            "incident": incident,
            "seconds": seconds,
            "traceback": self._traceback,
            "bundle": None if self._bundle is None else self._bundle.model_dump(),
            "by_signal": {str(name): count for name, count in self.by_signal.items()},
            "cured_by": {str(name): count for name, count in self.cured_by.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any], engine: EngineState) -> None:
        """Take back what `state_dict` gave; an incident that the engine no longer has open is dropped."""
        self.by_signal = Counter({SignalName(name): count for name, count in state["by_signal"].items()})
        self.cured_by = Counter({ActionName(name): count for name, count in state["cured_by"].items()})
        self._incident, self._traceback, self._bundle = None, None, None
        saved = state["incident"]
        if saved is None or engine.incident is None:
            return
        decisions = (Decision(**{**d, "action": ActionName(d["action"])}) for d in saved["decisions"])
        self._incident = Incident(
            **{
                **saved,
                "signals": tuple(SignalName(name) for name in saved["signals"]),
                "decisions": tuple(decisions),
                "outcome": Outcome(saved["outcome"]),
                "causes": tuple(Cause(**{**c, "kind": CauseKind(c["kind"])}) for c in saved["causes"]),
                "cured_by": None,
            }
        )
        self._traceback = state["traceback"]
        self._bundle = None if state["bundle"] is None else Bundle(**state["bundle"])
        self._opened_at = self._clock.monotonic() - state["seconds"]

    def _ended(self, step: int, outcome: Outcome, cured_by: ActionName | None) -> Incident:
        if self._incident is None:
            raise ValueError("no incident is open")
        seconds = self._clock.monotonic() - self._opened_at
        return replace(self._incident, closed_at_step=step, outcome=outcome, cured_by=cured_by, seconds=seconds)

    def _write(self) -> None:
        """Write the incident's file, whole or not at all; a disk that refuses is a warning."""
        incident = self._incident
        if self._directory is None or incident is None:
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
            bundle=self._bundle,
            traceback=self._traceback,
        )
        folder = self._directory / f"{incident.id:04d}"
        part = folder / ".incident.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            part.write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
            part.replace(folder / "incident.json")
        except OSError as error:
            message = f"{folder.name}/incident.json could not be written: {error.strerror}"
            self._log.emit(WarningEvent(message=message))
