"""Says what becomes of a run on stderr, for a loop of one's own: incidents, cures, reloads, a halt and warnings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from supervisor.events import schema
from supervisor.events.narration import counted, describe_changes, names_of
from supervisor.events.schema import Event
from supervisor.events.stderr import say
from supervisor.records import ActionName, SignalName

__all__ = ["Speaker"]

MOST_LINES = 20
"""So many lines of a kind are all said; after them only the one with twice that number, four times, and so on."""

LONGEST = 160
"""How much of a cause or of an exception's message is said, in characters."""


@dataclass(slots=True)
class Tally:
    """Counts the lines of one kind, and holds most of them back once there were many.

    Attributes:
        lines: how many there were.
        due: which one is said next, once there were many.
        held_back: how many were not said.
    """

    lines: int = 0
    due: int = MOST_LINES
    held_back: int = 0

    def counted(self, text: str) -> str | None:
        """The line as it is to be said; None where it is held back."""
        self.lines += 1
        if self.lines < MOST_LINES:
            return text
        if self.lines < self.due:
            self.held_back += 1
            return None
        self.due = 2 * self.lines
        return f"{text} ({self.lines} such lines so far: the next one is said at {self.due})"


@dataclass(slots=True)
class Answering:
    """What is known of a flagged update before it is answered.

    Attributes:
        update: its number, None before the first.
        signals: what was found about it.
        opening: names of the findings that opened an incident, where it opened one.
        cause: what the diagnosis found.
        failed: the actions that failed.
        applied: what was done in the end.
    """

    update: int | None = None
    signals: list[schema.SignalEvent] = field(default_factory=list)
    opening: tuple[str, ...] = ()
    cause: str | None = None
    failed: list[str] = field(default_factory=list)
    applied: schema.ActionAppliedEvent | None = None

    def sentence(self, action: schema.ActionAppliedEvent, done: str) -> str:
        """`step 45: incident 2: nonfinite_parameter (0.weight); went back to step 30`."""
        parts = [f"{_place(action)}incident {action.incident}: {self._found()}", *self.failed, done]
        return "; ".join(part for part in parts if part)

    def names_it(self, reason: str) -> bool:
        """Whether the reason of a halt begins with a finding and its cause, which need not be said twice."""
        return any(reason.startswith((f"{each}:", f"{each};")) for each in SignalName)

    def _found(self) -> str:
        first = next((each for each in self.signals if not self.opening or each.signal == self.opening[0]), None)
        name = first.signal if first is not None else "".join(self.opening[:1]) or "a bad update"
        if self.cause:
            return f"{name}: {_short(self.cause)}"
        detail = "" if first is None else _detail(first)
        return f"{name} ({detail})" if detail else name


class Speaker:
    """A listener of the event log that tells a person at a terminal what the guard does.

    A healthy run says nothing. A skipped batch is said where it opens an incident, every other action each time. Where
    there are many lines most are held back, and the lines that are said tell it.

    Args:
        say: is given each line.
    """

    def __init__(self, say: Callable[[str], object] = say) -> None:
        self._say = say
        self._now = Answering()
        self._incidents = Tally()
        self._warnings = Tally()

    def __call__(self, event: Event) -> None:
        """Say what `event` completes, which is mostly nothing."""
        match event:
            case schema.StepEvent():
                pass
            case schema.SignalEvent():
                if event.update != self._now.update:
                    self._now = Answering(event.update)
                self._now.signals.append(event)
            case schema.IncidentOpenedEvent():
                self._now.opening = tuple(event.signals)
            case schema.DiagnosisEvent():
                self._now.cause = event.explanation
            case schema.ActionFailedEvent():
                self._now.failed.append(f"{event.action} failed ({_short(event.error)})")
            case schema.ActionAppliedEvent():
                self._answered(event)
            case schema.CureChosenEvent():
                scores = f"loss {event.score:.4g} on a fork, {event.keep_score:.4g} without"
                self._say(f"{_place(event)}cure in force: {event.cure} ({scores})")
            case schema.SettingsChangedEvent():
                self._say(describe_changes(event))
            case schema.RunHaltedEvent():
                self._halted(event)
            case schema.WarningEvent():
                self._warned(event)
            case schema.RunFinishedEvent() if event.status is schema.RunStatus.UNSAVED:
                self._say(f"ended, and not saved: {event.summary.reason}")
            case schema.RunFinishedEvent() if self._incidents.held_back:
                incidents = counted(event.summary.incidents, "incident")
                self._say(f"{event.status} after {event.summary.steps} steps with {incidents}")

    def _answered(self, event: schema.ActionAppliedEvent) -> None:
        now = self._now
        now.applied = event
        if event.action is ActionName.HALT:
            # The reason comes with the end of the run.
            return
        self._now = Answering()
        if event.action is ActionName.SKIP_BATCH and not now.opening:
            return
        line = self._incidents.counted(now.sentence(event, _done(event)))
        if line is not None:
            self._say(line)

    def _halted(self, event: schema.RunHaltedEvent) -> None:
        now, self._now = self._now, Answering()
        if now.applied is None:
            self._say(f"{_place(event)}halted: {event.reason}")
            return
        end = "; ".join(part for part in (f"halted: {event.reason}", _done(now.applied)) if part)
        if now.names_it(event.reason):
            self._say(f"{_place(event)}incident {now.applied.incident}: {end}")
        else:
            self._say(now.sentence(now.applied, end))

    def _warned(self, event: schema.WarningEvent) -> None:
        line = self._warnings.counted(f"{_place(event)}warning: {event.message}") if event.spoken else None
        if line is not None:
            self._say(line if event.traceback is None else f"{line}\n{event.traceback.rstrip()}")


def _done(event: schema.ActionAppliedEvent) -> str:
    done = []
    if event.action is ActionName.SKIP_BATCH:
        done.append("skipped the batch")
    if event.modules:
        done.append(f"redrew {names_of(event.modules)}")
    if event.restored_step is not None:
        done.append(f"went back to step {event.restored_step}")
    if event.lr_scale is not None:
        done.append(f"the learning rate is now {event.lr_scale:.4g} of its schedule's")
    return ", ".join(done)


def _detail(signal: schema.SignalEvent) -> str:
    """Names say the most; else the first number or text that the detector gives."""
    details = signal.model_extra or {}
    names = next((value for value in details.values() if isinstance(value, tuple) and value), None)
    if names is not None:
        return names_of(names)
    name, value = next(iter(details.items()), ("", ""))
    return _short(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}".strip())


def _place(event: Event) -> str:
    return "" if event.step is None else f"step {event.step}: "


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
