"""One line for a flagged update: where, what was found, where it comes from, and what was done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from supervisor.display import in_one_line
from supervisor.events import schema
from supervisor.events.schema import Event
from supervisor.evidence import Blame
from supervisor.records import ActionName, CauseKind

__all__ = ["COLUMNS", "IncidentLine", "cut_to", "names_of", "place", "some_of"]

COLUMNS = 100
"""What a line about an incident fits into; `supervisor explain` has the details."""

LONGEST_REASON = 400
"""How much of the reason of a halt is said, in characters: nothing matters more."""

_LONGEST_END = 56
_MOST_NAMES = 3


@dataclass(slots=True)
class _Gathered:
    """What is known of a flagged update."""

    update: int | None = None
    signals: list[schema.SignalEvent] = field(default_factory=list)
    opens: bool = False
    opening: tuple[str, ...] = ()
    cause: schema.DiagnosisEvent | None = None
    left_out: list[int | str] = field(default_factory=list)
    decision: schema.DecisionEvent | None = None
    cure: str | None = None
    failed: list[str] = field(default_factory=list)
    halt: schema.ActionAppliedEvent | None = None


class IncidentLine:
    """Gathers the events of one flagged update, and says them in one line when it is answered.

    Of an incident the first answer has a line, and every later one that does more than to skip another batch.

    Args:
        columns: what the line is to fit into.
    """

    def __init__(self, columns: int = COLUMNS) -> None:
        self._columns = columns
        self._now = _Gathered()

    def tell(self, event: Event) -> str | None:
        """Take in an event; the line that it completes, which is mostly none."""
        if isinstance(event, schema.SignalEvent | schema.IncidentOpenedEvent) and event.update != self._now.update:
            self._now = _Gathered(event.update)
        match event:
            case schema.SignalEvent():
                self._now.signals.append(event)
            case schema.IncidentOpenedEvent():
                self._now.opens, self._now.opening = True, tuple(event.signals)
            case schema.DiagnosisEvent():
                self._now.cause = event
            case schema.QuarantinedEvent():
                self._now.left_out += event.dataset_indices
            case schema.DecisionEvent():
                self._now.decision = event
            case schema.CureChosenEvent():
                self._now.cure = event.cure
            case schema.ActionFailedEvent():
                self._now.failed.append(f"{event.action} failed ({in_one_line(event.error)})")
            case schema.ActionAppliedEvent(action=ActionName.HALT):
                # The reason comes with the end of the run.
                self._now.halt = event
            case schema.ActionAppliedEvent():
                line = self._answered(event)
                self._now = _Gathered()
                return line
            case schema.RunHaltedEvent():
                back = "" if self._now.halt is None else _done(self._now.halt, cure=None)
                self._now = _Gathered()
                reason = cut_to(in_one_line(event.reason), LONGEST_REASON)
                return f"{place(event)}halted: {reason}{f'  → {back}' if back else ''}"
        return None

    def rest(self) -> str | None:
        """The line about an update that was decided on and never answered: the process ended meanwhile."""
        decision = self._now.decision
        if decision is None or self._now.halt is not None:
            return None
        line = self._line(place(decision), f"{decision.action} …")
        self._now = _Gathered()
        return line

    def _answered(self, event: schema.ActionAppliedEvent) -> str | None:
        if event.action is ActionName.SKIP_BATCH and not self._now.opens:
            return None
        comes_again = self._now.decision is not None and self._now.decision.retry
        done = "tried again" if comes_again else _done(event, cure=self._now.cure) or str(event.action)
        return self._line(place(event), "; ".join([*self._now.failed, done]))

    def _line(self, where: str, end: str) -> str:
        # What was done is in every line; of a long list of failures its end counts.
        end = end if len(end) <= _LONGEST_END else f"…{end[1 - _LONGEST_END :]}"
        start, end = f"{where}{self._name()}", f"  → {end}"
        room = self._columns - len(start) - len(end) - 2
        why = cut_to(in_one_line(self._why()), room) if room > 0 else ""
        return f"{start}{f'  {why}' if why else ''}{end}"

    def _name(self) -> str:
        first = self._first()
        return str(first.signal) if first is not None else "".join(self._now.opening[:1]) or "flagged"

    def _first(self) -> schema.SignalEvent | None:
        named = (each for each in self._now.signals if not self._now.opening or each.signal == self._now.opening[0])
        return next(named, None)

    def _why(self) -> str:
        cause, evidence = self._now.cause, None if self._now.decision is None else self._now.decision.evidence
        if self._now.left_out:
            return f"bad data: {some_of('row', self._now.left_out)} (left out)"
        match cause:
            case schema.DiagnosisEvent(kind=CauseKind.BAD_INPUT, dataset_indices=(_, *_)):
                return f"bad data: {some_of('row', cause.dataset_indices)}"
            case schema.DiagnosisEvent(kind=CauseKind.BAD_INPUT, samples=(_, *_)):
                return f"bad data: {some_of('sample', cause.samples)} of the batch"
            case schema.DiagnosisEvent(kind=CauseKind.POISONED_PARAMETER, parameter=str(name)):
                return f"{name} was not finite"
            case schema.DiagnosisEvent(kind=CauseKind.POISONED_OPTIMIZER_STATE, parameter=str(name)):
                return f"{cause.state_key} of {name} in the optimizer was not finite"
            case schema.DiagnosisEvent(kind=CauseKind.NOT_REPRODUCIBLE):
                return "healthy when it was run again"
            case schema.DiagnosisEvent():
                return cause.explanation or str(cause.kind)
        if evidence is not None and evidence.blame is Blame.DATA:
            return "bad data"
        first = self._first()
        return "" if first is None else _detail(first)


def place(event: Event) -> str:
    """`step 61  `, and nothing where an event has no place."""
    return "" if event.step is None else f"step {event.step}  "


def cut_to(text: str, columns: int) -> str:
    """The text, or as much of it as fits."""
    return text if len(text) <= columns else f"{text[: max(columns - 1, 0)]}…"


def names_of(names: tuple[str, ...]) -> str:
    """`a, b, c and 4 more`."""
    rest = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def some_of(noun: str, which: Sequence[int | str]) -> str:
    """`row 7`, `rows 7, 8, 9 and 4 more`."""
    shown = names_of(tuple(str(each) for each in which))
    return f"{noun} {shown}" if len(which) == 1 else f"{noun}s {shown}"


def _done(event: schema.ActionAppliedEvent, *, cure: str | None) -> str:
    done = []
    if event.action is ActionName.SKIP_BATCH:
        done.append("skipped")
    if cure is not None:
        done.append(f"from now on {cure}")
    if event.modules:
        done.append(f"redrew {names_of(event.modules)}")
    if event.restored_step is not None:
        done.append(f"back to step {event.restored_step}")
    if event.lr_scale is not None:
        done.append(f"learning rate ×{event.lr_scale:.4g}")
    return in_one_line(", ".join(done))


def _detail(signal: schema.SignalEvent) -> str:
    """Names say the most; else the first number or text that the detector gives."""
    details = signal.model_extra or {}
    names = next((value for value in details.values() if isinstance(value, tuple) and value), None)
    if names is not None:
        return names_of(names)
    name, value = next(iter(details.items()), ("", ""))
    return f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}".strip()
