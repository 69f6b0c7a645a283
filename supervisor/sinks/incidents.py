"""Gathers the events of each incident, so that a sink can hand it on as one thing."""

from __future__ import annotations

from dataclasses import dataclass, field

from supervisor.events import schema
from supervisor.events.incident_line import names_of, some_of
from supervisor.events.narration import describe_outcome, describe_signal
from supervisor.events.schema import Event
from supervisor.records import Outcome
from supervisor.sinks.base import Sink

__all__ = ["Incident", "IncidentSink", "Incidents"]

MOST_KEPT = 500

_OF_AN_UPDATE = (schema.SignalEvent, schema.ExperimentEvent)


@dataclass
class Incident:
    """One incident of the training, as far as it was told.

    Attributes:
        number: its number, from 1.
        events: its events in order, with the signals and experiments of the updates that it is about.
        ended: what ended it; None while it is open.
    """

    number: int
    events: list[Event] = field(default_factory=list)
    ended: Event | None = None

    @property
    def opened(self) -> Event:
        """The event that it begins with."""
        first = next((each for each in self.events if isinstance(each, schema.IncidentOpenedEvent)), None)
        return self.events[0] if first is None else first

    @property
    def signals(self) -> tuple[str, ...]:
        """What was found first: the names, furthest upstream first."""
        opened = self.opened
        named = tuple(opened.signals) if isinstance(opened, schema.IncidentOpenedEvent) else ()
        found = dict.fromkeys(each.signal for each in self.events if isinstance(each, schema.SignalEvent))
        return tuple(str(name) for name in named or found)

    @property
    def actions(self) -> tuple[str, ...]:
        """What was decided, in order."""
        return tuple(str(each.action) for each in self.events if isinstance(each, schema.DecisionEvent))

    @property
    def cause(self) -> str | None:
        """The kind of cause that the last diagnosis named."""
        kinds = [str(each.kind) for each in self.events if isinstance(each, schema.DiagnosisEvent)]
        return kinds[-1] if kinds else None

    @property
    def outcome(self) -> Outcome:
        """How it ended."""
        match self.ended:
            case schema.IncidentClosedEvent():
                return Outcome.RECOVERED
            case schema.RunHaltedEvent():
                return Outcome.HALTED
            case _:
                return Outcome.OPEN

    def headline(self) -> str:
        """What it was and how it ended, in one line."""
        names = ", ".join(self.signals) or "flagged"
        what = f"incident {self.number} at step {self.opened.step}: {names}"
        match self.ended:
            case schema.IncidentClosedEvent() as closed:
                return f"{what}; cured by {closed.cured_by}, {closed.steps_lost} steps lost, {closed.seconds:.3g} s"
            case schema.RunHaltedEvent() as halted:
                return f"{what}; the run was halted: {halted.reason}"
            case _:
                return f"{what}; still open"

    def lines(self) -> list[str]:
        """All of it in words, one line an event."""
        return [self.headline(), *(f"step {each.step}: {said}" for each in self.events if (said := _said(each)))]


class Incidents:
    """Gathers incidents from the events of a run, told in order.

    Of those that are over only the last are kept, for a resume may take them back.

    Attributes:
        all: those that are kept, in order.
    """

    def __init__(self) -> None:
        self.all: list[Incident] = []
        self._dropped = 0
        self._waiting: list[Event] = []

    @property
    def count(self) -> int:
        """How many there were, those that are not kept any more included."""
        return self._dropped + len(self.all)

    def tell(self, event: Event, *, void: bool = False) -> Incident | None:
        """Take in the next event; the incident that it ends, which is mostly none."""
        match event:
            case schema.RunStartedEvent():
                self.all, self._waiting, self._dropped = [], [], 0
            case schema.RunResumedEvent():
                self._take_back(event.update or 0)
        if void:
            return None
        if isinstance(event, _OF_AN_UPDATE):
            self._waiting = [*(each for each in self._waiting if each.update == event.update), event]
            return None
        number = getattr(event, "incident", None)
        if isinstance(number, int):
            return self._add(number, event)
        if isinstance(event, schema.RunHaltedEvent) and self.all and self.all[-1].ended is None:
            self.all[-1].ended = event
            return self.all[-1]
        return None

    def _add(self, number: int, event: Event) -> Incident | None:
        incident = next((each for each in reversed(self.all) if each.number == number), None)
        if incident is None:
            incident = Incident(number)
            self.all.append(incident)
            if len(self.all) > MOST_KEPT:
                del self.all[0]
                self._dropped += 1
        if isinstance(event, schema.DecisionEvent):
            # The findings of an update come before what is decided about it.
            incident.events += [each for each in self._waiting if each.update == event.update]
            self._waiting = []
        incident.events.append(event)
        if isinstance(event, schema.IncidentClosedEvent):
            incident.ended = event
            return incident
        return None

    def _take_back(self, update: int) -> None:
        """Forget what a resume goes on from before."""
        for incident in self.all:
            incident.events = [each for each in incident.events if each.update is None or each.update < update]
            if incident.ended is not None and (incident.ended.update or 0) >= update:
                incident.ended = None
        self.all = [incident for incident in self.all if incident.events]
        self._waiting = []


def _said(event: Event) -> str | None:
    match event:
        case schema.SignalEvent():
            return describe_signal(event)
        case schema.DiagnosisEvent():
            where = "" if event.module is None else f" in {event.module}"
            rows = f", {some_of('row', event.dataset_indices)}" if event.dataset_indices else ""
            return f"cause: {event.kind}{where}{rows}{f': {event.explanation}' if event.explanation else ''}"
        case schema.ExperimentEvent():
            return f"{event.kind} on {event.batches} batches: {event.verdict}{f' ({event.why})' if event.why else ''}"
        case schema.QuarantinedEvent():
            return f"left out from now on: {some_of('row', event.dataset_indices)}"
        case schema.CureTriedEvent():
            return f"cure tried: {event.cure}, loss {event.score:.4g}"
        case schema.CureChosenEvent():
            return f"cure chosen: {event.cure}, loss {event.score:.4g}, {event.keep_score:.4g} without"
        case schema.DecisionEvent():
            return f"decided: {event.action} (attempt {event.attempt}): {event.reason}"
        case schema.ActionAppliedEvent():
            return f"{event.action} done{describe_outcome(event)}"
        case schema.ActionFailedEvent():
            return f"{event.action} failed: {event.error}"
        case schema.IncidentOpenedEvent():
            return f"opened by {names_of(tuple(event.signals))}" if event.signals else None
        case _:
            return None


class IncidentSink(Sink):
    """A sink that hands on incidents as wholes: it gathers them, those of earlier processes too."""

    recalls = True

    def __init__(self) -> None:
        self._incidents = Incidents()

    def recall(self, event: Event, *, void: bool) -> None:
        """Take note of what belongs to incidents."""
        self._incidents.tell(event, void=void)

    def tell(self, event: Event, *, void: bool) -> None:
        """Gather, and hand on what counts."""
        ended = self._incidents.tell(event, void=void)
        if not void:
            self.hand_on(event, ended)

    def hand_on(self, event: Event, ended: Incident | None) -> None:
        """Hand on an event that counts.

        Args:
            event: the event.
            ended: the incident that it ends, which is mostly none.
        """
        raise NotImplementedError
