"""Events as lines for people: one line for each incident, or one for each event."""

from __future__ import annotations

import enum
from typing import NamedTuple

from supervisor.display import in_one_line, shortened, visible
from supervisor.events import schema
from supervisor.events.base import nonfinite_as_word
from supervisor.events.headroom_event import describe_headroom
from supervisor.events.incident_line import COLUMNS, IncidentLine, cut_to, names_of, place
from supervisor.events.reading_file import said_of_rows
from supervisor.events.schema import Event
from supervisor.events.step_line import counted
from supervisor.records import SignalName

__all__ = [
    "Line",
    "Narrator",
    "Tone",
    "counted",
    "describe_changes",
    "describe_event",
    "describe_outcome",
    "describe_signal",
    "names_of",
]

_SAID_ELSEWHERE = schema.ORDERLY_EXITS | {schema.ExitClassification.BAD_INPUT}
"""Ends of a worker of which the run's own end tells, or what it has said on stderr."""

_MOST_METRICS = 4

_LEADING = {"event", "run_id", "rank", "step", "update", "schema_version", "time", "life", "monotonic", "boot"}


class Tone(enum.StrEnum):
    """How much a line matters; the console gives each its colour."""

    PLAIN = "plain"
    RECOVERY = "recovery"
    GOOD = "good"
    BAD = "bad"


class Line(NamedTuple):
    """A line of text and its tone."""

    text: str
    tone: Tone


class Narrator:
    """Says each incident in one line, when it is first answered, and each later answer that does more than to skip.

    Of the signals that nothing answers, because the policy only observes them, the first of each name is said: the
    rest are in the log.
    """

    def __init__(self) -> None:
        self._incident = IncidentLine()
        self._signals: list[schema.SignalEvent] = []
        self._answered = False
        self._observed: set[SignalName] = set()
        self._worker_gone = False

    def tell(self, event: Event) -> list[Line]:
        """The lines that `event` completes, often none; `step` events are left to `step_line`."""
        lines = self._leave_behind(event)
        match event:
            case schema.SignalEvent(signal=SignalName.ODD_UPDATE):
                # Of those that did harm an incident tells.
                return lines
            case schema.SignalEvent():
                self._signals.append(event)
            case schema.DecisionEvent():
                self._answered = True
            case schema.WorkerStartedEvent() if self._worker_gone:
                self._worker_gone = False
                lines.append(Line(f"worker {event.pid} was started again (restart {event.restarts})", Tone.RECOVERY))
            case schema.WorkerExitedEvent():
                self._worker_gone = event.classification not in _SAID_ELSEWHERE
        line = self._incident.tell(event)
        if line is not None:
            lines.append(Line(line, Tone.BAD if isinstance(event, schema.RunHaltedEvent) else Tone.RECOVERY))
        return lines + _other(event)

    def rest(self) -> list[Line]:
        """What is still waiting when nothing more comes."""
        lines = self._unanswered()
        line = self._incident.rest()
        self._signals, self._answered = [], False
        return lines if line is None else [*lines, Line(line, Tone.RECOVERY)]

    def _leave_behind(self, event: Event) -> list[Line]:
        """The lines that are due because the run has moved on to another update, or has ended."""
        waiting = self._signals[-1].update if self._signals else None
        moved_on = event.update is not None and waiting is not None and event.update != waiting
        ended = isinstance(event, schema.RunHaltedEvent | schema.RunFinishedEvent)
        if not (moved_on or ended):
            return []
        lines = self._unanswered()
        self._signals, self._answered = [], False
        return lines

    def _unanswered(self) -> list[Line]:
        if self._answered:
            return []
        new = [signal for signal in self._signals if signal.signal not in self._observed]
        self._observed.update(signal.signal for signal in new)
        more = "  observed: more of these only in the log"
        return [
            Line(
                cut_to(f"{place(signal)}{in_one_line(describe_signal(signal))}", COLUMNS - len(more)) + more, Tone.PLAIN
            )
            for signal in new
        ]


def describe_event(event: Event) -> str:
    """`12:03:41.532  step 120 (update 124)  decision  incident=1 rung=0 action=skip_batch …`."""
    at = event.time.strftime("%H:%M:%S.%f")[:-3]
    where = "" if event.step is None else f"step {event.step}"
    where += "" if event.update is None else f" (update {event.update})"
    values = event.model_dump(exclude=_LEADING, exclude_none=True)
    fields = " ".join(f"{in_one_line(name)}={_field(value)}" for name, value in values.items())
    return f"{at}  {where:<24}  {in_one_line(event.event):<20}  {fields}".rstrip()


def describe_changes(event: schema.SettingsChangedEvent) -> str:
    """With what other settings a run was resumed, in one line."""
    return f"resumed with other settings: {names_of(event.changes)}"


def _other(event: Event) -> list[Line]:
    found = _told(event)
    if found is None:
        return []
    traceback = (event.traceback or "") if isinstance(event, schema.WarningEvent) else ""
    story = [Line(visible(line), Tone.PLAIN) for line in shortened(traceback).splitlines()]
    return [Line(in_one_line(shortened(found.text)), found.tone), *story]


def _told(event: Event) -> Line | None:
    at = place(event)
    match event:
        case schema.RunStartedEvent():
            told = {name: getattr(event, name) for name in ("steps", "trainer", "seed", "device")}
            known = ", ".join(f"{name} {value}" for name, value in told.items() if value is not None)
            return Line(f"run {event.run_id} started{': ' if known else ''}{known}", Tone.PLAIN)
        case schema.RunResumedEvent():
            why = f": {event.reason}" if event.reason else ""
            return Line(f"resumed from the checkpoint of step {event.checkpoint_step}{why}", Tone.PLAIN)
        case schema.SettingsChangedEvent():
            return Line(describe_changes(event), Tone.PLAIN)
        case schema.CanaryEvent(verdict="different"):
            what = "a known batch gives another loss on it: the state or the machine is at fault"
            return Line(f"{at}the state of step {event.restored_step}: {what}", Tone.BAD)
        case schema.CanaryEvent(verdict="unknown"):
            what = "a known batch gives no steady loss on it: nothing is known about it"
            return Line(f"{at}the state of step {event.restored_step}: {what}", Tone.BAD)
        case schema.DataShiftEvent():
            what = f"the data have changed: {counted(event.updates, 'odd update')} in a row did no harm"
            then = "windows and canaries begin anew" if event.accepted else "the policy halts then"
            return Line(f"{at}{what}; {then}", Tone.PLAIN)
        case schema.HeadroomEvent():
            return Line(f"{at}headroom: {describe_headroom(event)}", Tone.PLAIN)
        case schema.LrRestoredEvent():
            return Line(f"{at}cut of the learning rate taken back, now ×{event.lr_scale:.4g}", Tone.GOOD)
        case schema.CheckpointRejectedEvent() if not event.reason.startswith("abandoned"):
            return Line(f"checkpoint {event.path} rejected: {event.reason}", Tone.BAD)
        case schema.BufferExemptEvent():
            return Line(f"non-finite from the start, so exempt: {names_of(event.buffers)}", Tone.PLAIN)
        case schema.SinkReadyEvent():
            return Line(f"sink {event.sink}: {event.address}", Tone.PLAIN)
        case schema.SinkFailedEvent():
            return Line(f"sink {event.sink}: {event.error}", Tone.BAD)
        case schema.WarningEvent() if event.spoken:
            return Line(f"{at}warning: {event.message}", Tone.BAD)
        case schema.MetricsEvent():
            return Line(f"evaluated after {event.step} steps: {_some_metrics(event.metrics)}", Tone.PLAIN)
        case schema.BestCheckpointEvent():
            value = f"{event.metric} {event.value:.4g}"
            return Line(f"best so far: {value} after {event.checkpoint_step} steps, kept in {event.path}", Tone.GOOD)
        case schema.WorkerStalledEvent():
            limit = f", longer than {event.limit} allows" if event.limit else ""
            what = f"no sign of life for {event.seconds:.3g} s{limit}; it is ended"
            return Line(f"worker {event.pid} stalled: {what}", Tone.BAD)
        case schema.WorkerExitedEvent() if event.classification not in _SAID_ELSEWHERE:
            return Line(cut_to(in_one_line(_death(event)), COLUMNS), Tone.BAD)
        case schema.RunFinishedEvent():
            count = counted(event.summary.incidents, "incident")
            what = f"{event.status} after {event.summary.steps} steps, {count}"
            if event.status is schema.RunStatus.UNSAVED:
                return Line(f"{what}: {event.summary.reason}", Tone.BAD)
            return Line(what, Tone.GOOD)
        case _:
            return None


def _some_metrics(metrics: dict[str, float]) -> str:
    shown = [f"{name} {value:.4g}" for name, value in [*metrics.items()][:_MOST_METRICS]]
    rest = len(metrics) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def _death(event: schema.WorkerExitedEvent) -> str:
    """What it died of: of a traceback the last line names the exception."""
    how = event.signal or f"exit code {event.exit_code}"
    last = (event.reason or "").strip().splitlines()[-1:]
    why = f": {last[0].strip()}" if last else ""
    if event.rows:
        why = f"; {said_of_rows(event.rows)}{why}"
    return f"worker {event.pid} died: {event.classification} ({how}){why}"


def describe_outcome(event: schema.ActionAppliedEvent) -> str:
    """What an action did, as the end of a line; empty where there is nothing beyond the dropped batch."""
    done = []
    if event.restored_step is not None:
        done.append(f"back to step {event.restored_step}")
        if event.restored_from is not None:
            done[-1] += f" from {event.restored_from}"
    if event.lr_scale is not None:
        done.append(f"learning-rate scale {event.lr_scale:.4g}")
    if event.modules:
        done.append(f"redrew {names_of(event.modules)}")
    return f"; {', '.join(done)} ({event.seconds:.2g} s)" if done else ""


def describe_signal(event: schema.SignalEvent) -> str:
    """A finding and its numbers: `nonfinite_loss (loss nan)`."""
    details = ", ".join(f"{name} {_value(value)}" for name, value in (event.model_extra or {}).items())
    return f"{event.signal} ({details})" if details else str(event.signal)


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return names_of(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _field(value: object) -> str:
    if isinstance(value, float):
        return str(nonfinite_as_word(float(f"{value:.6g}")))
    if isinstance(value, dict):
        return in_one_line(shortened("{" + " ".join(f"{key}={_field(each)}" for key, each in value.items()) + "}"))
    if isinstance(value, (tuple, list)):
        return shortened(",".join(_field(each) for each in value))
    shown = in_one_line(shortened(str(value)))
    return f"'{shown}'" if " " in shown else shown
