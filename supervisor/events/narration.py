"""Events as lines for people: one line for each recovery, from the signal to what was done, or one for each event."""

from __future__ import annotations

import enum
from typing import NamedTuple

from supervisor.events import schema
from supervisor.events.base import nonfinite_as_word
from supervisor.events.schema import Event
from supervisor.records import ActionName, SignalName

__all__ = [
    "Line",
    "Narrator",
    "Tone",
    "counted",
    "describe_changes",
    "describe_event",
    "describe_outcome",
    "describe_signal",
    "describe_step",
    "names_of",
]

_MOST_NAMES = 3
_MOST_METRICS = 4
_LEADING = {"event", "run_id", "rank", "step", "update", "schema_version", "time"}


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
    """Says each recovery in one line, when its action is done.

    Signals and decisions wait for the action that answers them. Of the signals that nothing answers, because
    the policy only observes them, the first of each name is said: the rest are in the log.
    """

    def __init__(self) -> None:
        self._signals: list[schema.SignalEvent] = []
        self._decision: schema.DecisionEvent | None = None
        self._answered = False
        self._observed: set[SignalName] = set()

    def tell(self, event: Event) -> list[Line]:
        """The lines that `event` completes, often none; `step` events are left to `describe_step`."""
        lines = self._leave_behind(event)
        match event:
            case schema.SignalEvent(signal=SignalName.ODD_UPDATE):
                # Of those that did harm an incident tells.
                return lines
            case schema.SignalEvent():
                self._signals.append(event)
            case schema.DecisionEvent():
                lines += self._unfinished()
                self._decision = event
                self._answered = True
            case schema.ActionAppliedEvent():
                lines.append(Line(self._recovery(event, describe_outcome(event)), self._tone(event.action)))
                self._decision = None
            case schema.ActionFailedEvent():
                lines.append(Line(self._recovery(event, f"; failed: {event.error}"), Tone.BAD))
                self._decision = None
            case _:
                lines += _other(event)
        return lines

    def rest(self) -> list[Line]:
        """What is still waiting when nothing more comes."""
        lines = self._unfinished() + self._unanswered()
        self._signals, self._decision, self._answered = [], None, False
        return lines

    def _leave_behind(self, event: Event) -> list[Line]:
        """The lines that are due because the run has moved on to another update, or has ended."""
        waiting = self._signals[-1].update if self._signals else self._decision and self._decision.update
        moved_on = event.update is not None and waiting is not None and event.update != waiting
        ended = isinstance(event, schema.RunHaltedEvent | schema.RunFinishedEvent)
        return self.rest() if moved_on or ended else []

    def _unfinished(self) -> list[Line]:
        if self._decision is None:
            return []
        return [Line(self._recovery(self._decision, ""), self._tone(self._decision.action))]

    def _unanswered(self) -> list[Line]:
        if self._answered:
            return []
        new = [signal for signal in self._signals if signal.signal not in self._observed]
        self._observed.update(signal.signal for signal in new)
        return [
            Line(f"{_place(signal)}{describe_signal(signal)}: observed, more of these only in the log", Tone.PLAIN)
            for signal in new
        ]

    def _recovery(
        self, event: schema.DecisionEvent | schema.ActionAppliedEvent | schema.ActionFailedEvent, end: str
    ) -> str:
        signals = " + ".join(describe_signal(signal) for signal in self._signals)
        text = f"{_place(event)}{signals}{' ' if signals else ''}-> {event.action}"
        if self._decision is not None:
            text += f" (rung {self._decision.rung}): {self._decision.reason}"
        return text + end

    @staticmethod
    def _tone(action: ActionName) -> Tone:
        return Tone.BAD if action is ActionName.HALT else Tone.RECOVERY


def describe_event(event: Event) -> str:
    """`12:03:41.532  step 120 (update 124)  decision  incident=1 rung=0 action=skip_batch …`."""
    at = event.time.strftime("%H:%M:%S.%f")[:-3]
    where = "" if event.step is None else f"step {event.step}"
    where += "" if event.update is None else f" (update {event.update})"
    values = event.model_dump(exclude=_LEADING, exclude_none=True)
    fields = " ".join(f"{name}={_field(value)}" for name, value in values.items())
    return f"{at}  {where:<24}  {event.event:<20}  {fields}".rstrip()


def describe_step(event: schema.StepEvent, total_steps: int | None) -> str:
    """One plain line for a `step` event, for where there is no progress bar."""
    done = "" if event.step is None else f"{event.step + 1}"
    done += "" if total_steps is None else f"/{total_steps}"
    text = (
        f"{done} steps: loss {event.loss:.4g}, grad norm {event.grad_norm:.4g}, "
        f"lr {event.lr:.4g} x {event.lr_scale:.4g}, {event.step_seconds:.3g} s a step"
    )
    if event.incidents:
        text += f", {counted(event.incidents, 'incident')}"
    if event.rung is not None:
        text += f", on rung {event.rung}"
    return text


def _other(event: Event) -> list[Line]:
    at = _place(event)
    match event:
        case schema.RunStartedEvent():
            told = {name: getattr(event, name) for name in ("steps", "trainer", "seed", "device")}
            known = ", ".join(f"{name} {value}" for name, value in told.items() if value is not None)
            return [Line(f"run {event.run_id} started{': ' if known else ''}{known}", Tone.PLAIN)]
        case schema.RunResumedEvent():
            why = f": {event.reason}" if event.reason else ""
            return [Line(f"resumed from the checkpoint of step {event.checkpoint_step}{why}", Tone.PLAIN)]
        case schema.SettingsChangedEvent():
            return [Line(describe_changes(event), Tone.PLAIN)]
        case schema.IncidentClosedEvent():
            cost = f"{counted(event.steps_lost, 'step')} lost, {event.seconds:.3g} s"
            text = f"{at}incident {event.incident} closed, cured by {event.cured_by}: {cost}"
            return [Line(text, Tone.GOOD)]
        case schema.CanaryEvent() if event.verdict != "sound":
            told = {
                "different": "a known batch gives another loss on it: the state or the machine is at fault",
                "unknown": "a known batch gives no steady loss on it: nothing is known about it",
            }
            return [Line(f"{at}the state of step {event.restored_step}: {told[event.verdict]}", Tone.BAD)]
        case schema.DataShiftEvent():
            what = f"the data have changed: {counted(event.updates, 'odd update')} in a row did no harm"
            then = "windows and canaries begin anew" if event.accepted else "the policy halts then"
            return [Line(f"{at}{what}; {then}", Tone.PLAIN)]
        case schema.CureChosenEvent():
            scores = f"loss {event.score:.4g} on a fork, {event.keep_score:.4g} without"
            return [Line(f"{at}in force from now on: {event.cure} ({scores})", Tone.RECOVERY)]
        case schema.QuarantinedEvent():
            which = ", ".join(str(index) for index in event.dataset_indices)
            return [Line(f"{at}left out from now on: sample {which} of the data set", Tone.RECOVERY)]
        case schema.LrRestoredEvent():
            return [Line(f"{at}learning-rate cut taken back, scale now {event.lr_scale:.4g}", Tone.GOOD)]
        case schema.CheckpointRejectedEvent():
            return [Line(f"checkpoint {event.path} rejected: {event.reason}", Tone.BAD)]
        case schema.BufferExemptEvent():
            return [Line(f"non-finite from the start, so exempt: {names_of(event.buffers)}", Tone.PLAIN)]
        case schema.WarningEvent():
            story = [] if event.traceback is None else [Line(event.traceback.rstrip(), Tone.PLAIN)]
            return [Line(f"{at}warning: {event.message}", Tone.BAD), *story]
        case schema.MetricsEvent():
            return [Line(f"evaluated after {event.step} steps: {_some_metrics(event.metrics)}", Tone.PLAIN)]
        case schema.BestCheckpointEvent():
            value = f"{event.metric} {event.value:.4g}"
            return [Line(f"best so far: {value} after {event.checkpoint_step} steps, kept in {event.path}", Tone.GOOD)]
        case schema.WorkerStalledEvent():
            limit = f", longer than {event.limit} allows" if event.limit else ""
            return [Line(f"worker {event.pid} has stood still for {event.seconds:.3g} s{limit}", Tone.BAD)]
        case schema.WorkerExitedEvent() if event.classification not in schema.ORDERLY_EXITS:
            how = event.signal or f"exit code {event.exit_code}"
            why = f": {event.reason}" if event.reason else ""
            return [Line(f"worker {event.pid} is gone: {event.classification} ({how}){why}", Tone.BAD)]
        case schema.RunHaltedEvent():
            return [Line(f"{at}halted: {event.reason}", Tone.BAD)]
        case schema.RunFinishedEvent():
            count = counted(event.summary.incidents, "incident")
            what = f"{event.status} after {event.summary.steps} steps, {count}"
            if event.status is schema.RunStatus.UNSAVED:
                return [Line(f"{what}: {event.summary.reason}", Tone.BAD)]
            return [Line(what, Tone.GOOD)]
        case _:
            return []


def describe_changes(event: schema.SettingsChangedEvent) -> str:
    """With what other settings a run was resumed, in one line."""
    return f"resumed with other settings: {names_of(event.changes)}"


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


def names_of(names: tuple[str, ...]) -> str:
    """`a, b, c and 4 more`."""
    rest = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _some_metrics(metrics: dict[str, float]) -> str:
    shown = [f"{name} {value:.4g}" for name, value in [*metrics.items()][:_MOST_METRICS]]
    rest = len(metrics) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def _place(event: Event) -> str:
    if event.step is None:
        return ""
    update = "" if event.update is None else f" (update {event.update})"
    return f"step {event.step}{update}: "


def counted(number: int, noun: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _field(value: object) -> str:
    if isinstance(value, float):
        return str(nonfinite_as_word(float(f"{value:.6g}")))
    if isinstance(value, dict):
        return "{" + " ".join(f"{key}={_field(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        return ",".join(_field(each) for each in value)
    text = str(value)
    return repr(text) if " " in text or "\n" in text else text
