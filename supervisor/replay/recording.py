"""What a run's log holds for the engine: which updates were flagged, by what, and what became of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any

from supervisor.events import Event, schema
from supervisor.evidence import Evidence
from supervisor.policy import OBSERVABLE_SIGNALS
from supervisor.records import CauseKind, Decision, SignalName

__all__ = ["RecordedDecision", "RecordedRun", "RecordedUpdate", "read_recording"]


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """One decision of the recorded run.

    Attributes:
        decision: what was decided.
        blocked: for each rung that could not act then, why.
        error: why its action failed; None where it did its work.
        can_retry: whether the update's batches could have come again.
        evidence: what experiments had found, None where none was made.
    """

    decision: Decision
    blocked: dict[int, str]
    error: str | None = None
    can_retry: bool = False
    evidence: Evidence | None = None


@dataclass(frozen=True, slots=True)
class RecordedUpdate:
    """An update about which a detector found something.

    Attributes:
        update: its number, from 0.
        step: its schedule position.
        signals: the findings, furthest upstream first.
        decisions: what was decided, in order; none where every finding was only observed, or a gradient scaler
            answered by itself.
        restored_step: the state that the last action went back to, None where it did not go back.
        cause: what the diagnosis found, None where it found nothing.
    """

    update: int
    step: int
    signals: tuple[SignalName, ...] = ()
    decisions: tuple[RecordedDecision, ...] = ()
    restored_step: int | None = None
    cause: CauseKind | None = None

    @property
    def answered_by_scaler(self) -> bool:
        """Whether a gradient scaler dropped the update by itself: it was neither healthy nor flagged."""
        return not self.decisions and not OBSERVABLE_SIGNALS.issuperset(self.signals)


@dataclass(slots=True)
class RecordedRun:
    """A run as the engine saw it.

    Attributes:
        updates: how many were attempted.
        found: the updates with findings, by number; all others were healthy.
        replayed: updates whose batch came again after a reload with `data: replay`.
        new_ladders: updates before which the ladder began anew, since the run was resumed under another policy or
            after a halt.
        without_cuts: those of them before which the cuts of the learning rate were dropped too.
    """

    updates: int = 0
    found: dict[int, RecordedUpdate] = field(default_factory=dict)
    replayed: set[int] = field(default_factory=set)
    new_ladders: set[int] = field(default_factory=set)
    without_cuts: set[int] = field(default_factory=set)


def read_recording(events: Iterable[Event]) -> RecordedRun:
    """The recording that a run's events hold, of its first rank.

    Args:
        events: in order, without what a resume made void.
    """
    reading = _Reading()
    for event in events:
        if event.rank == 0:
            reading.take(event)
    reading.run.found = dict(sorted(reading.run.found.items()))
    return reading.run


class _Reading:
    def __init__(self) -> None:
        self.run = RecordedRun()
        self._accumulate = 1

    def take(self, event: Event) -> None:
        if event.update is not None and not isinstance(event, schema.RunResumedEvent):
            self.run.updates = max(self.run.updates, event.update + 1)
        match event:
            case schema.RunStartedEvent():
                self._accumulate = event.accumulate
            case schema.RunResumedEvent(update=int(update), ladder_begins_anew=True):
                self.run.new_ladders.add(update)
                if event.after_halt:
                    self.run.without_cuts.add(update)
            case schema.SignalEvent(signal=SignalName.ODD_UPDATE):
                # It asked for an experiment; what that found has a name of its own.
                return
            case schema.SignalEvent():
                self._change(event, signals=(*self._at(event).signals, event.signal))
            case schema.DecisionEvent():
                decision = Decision(**{each.name: getattr(event, each.name) for each in fields(Decision)})
                recorded = RecordedDecision(decision, event.blocked, can_retry=event.can_retry, evidence=event.evidence)
                self._change(event, decisions=(*self._at(event).decisions, recorded))
            case schema.DiagnosisEvent():
                self._change(event, cause=event.kind)
            case schema.ActionFailedEvent():
                *before, last = self._at(event).decisions
                self._change(event, decisions=(*before, replace(last, error=event.error)))
            case schema.ActionAppliedEvent(update=int(update), restored_step=int(step)):
                self._change(event, restored_step=step)
                coming = range(update + 1, update + 1 + event.replayed_batches // self._accumulate)
                self.run.replayed = {u for u in self.run.replayed if u <= update} | set(coming)

    def _at(self, event: Event) -> RecordedUpdate:
        assert event.update is not None
        return self.run.found.get(event.update) or RecordedUpdate(event.update, event.step or 0)

    def _change(self, event: Event, **changes: Any) -> None:
        found = replace(self._at(event), **changes)
        self.run.found[found.update] = found
