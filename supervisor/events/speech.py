"""Says what becomes of a run on stderr, for a loop of one's own: incidents, cures, reloads, a halt and warnings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from supervisor.events import schema
from supervisor.events.headroom_event import describe_headroom
from supervisor.events.incident_line import COLUMNS, IncidentLine, place
from supervisor.events.narration import describe_changes
from supervisor.events.schema import Event
from supervisor.events.stderr import PREFIX, say
from supervisor.events.step_line import counted

__all__ = ["Speaker"]

MOST_LINES = 20
"""So many lines of a kind are all said; after them only the one with twice that number, four times, and so on."""


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


class Speaker:
    """A listener of the event log that tells a person at a terminal what the guard does.

    A healthy run says nothing. A skipped batch is said where it opens an incident, every other action each time. Where
    there are many lines most are held back, and the lines that are said tell it.

    Args:
        say: is given each line.
    """

    def __init__(self, say: Callable[[str], object] = say) -> None:
        self._say = say
        self._incident = IncidentLine(COLUMNS - len(PREFIX))
        self._incidents = Tally()
        self._warnings = Tally()

    def __call__(self, event: Event) -> None:
        """Say what `event` completes, which is mostly nothing."""
        if isinstance(event, schema.StepEvent):
            return
        line = self._incident.tell(event)
        if line is not None and not isinstance(event, schema.RunHaltedEvent):
            line = self._incidents.counted(line)
        match event:
            case schema.WarningEvent() if event.spoken:
                line = self._warnings.counted(f"{place(event)}warning: {event.message}")
                if line is not None and event.traceback is not None:
                    line = f"{line}\n{event.traceback.rstrip()}"
            case schema.HeadroomEvent():
                line = self._warnings.counted(f"{place(event)}headroom: {describe_headroom(event)}")
            case schema.SettingsChangedEvent():
                line = describe_changes(event)
            case schema.RunFinishedEvent() if event.status is schema.RunStatus.UNSAVED:
                line = f"ended, and not saved: {event.summary.reason}"
            case schema.RunFinishedEvent() if self._incidents.held_back:
                incidents = counted(event.summary.incidents, "incident")
                line = f"{event.status} after {event.summary.steps} steps with {incidents}"
        if line is not None:
            self._say(line)
