"""What became of a run after its worker process was gone, and what to change about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from supervisor.events import schema
from supervisor.events.incident_file import ProcessIncident
from supervisor.events.reading_file import mend_of_rows, said_of_rows
from supervisor.events.schema import Event, ExitClassification
from supervisor.run_layout import RunLayout
from supervisor.tracebacks import last_line, raised_at

__all__ = ["ProcessStory", "exit_of", "is_of_a_process", "process_advice", "told_of_each", "what_followed"]

_BY_THE_KERNEL = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT")


@dataclass(frozen=True, slots=True)
class ProcessStory:
    """One death or stall of the worker process.

    Attributes:
        number: its number, from 1: of the processes, not of the training.
        record: its `incident.json`.
        folder: where that lies.
        followed: what became of the run after it, one sentence.
        advice: what a person should change.
    """

    number: int
    record: ProcessIncident
    folder: Path
    followed: str
    advice: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What it is asked for by: `process-2`."""
        return f"process-{self.number}"


def is_of_a_process(event: Event) -> bool:
    """Whether `what_followed` reads it."""
    kinds = (schema.WorkerStartedEvent, schema.WorkerExitedEvent, schema.RunStartedEvent, schema.RunResumedEvent)
    return isinstance(event, kinds) or (isinstance(event, schema.WarningEvent) and event.rank is None)


def exit_of(record: ProcessIncident, events: Sequence[Event]) -> int | None:
    """Which of the events tells of this death: its index; None where none does.

    Args:
        record: the death.
        events: those of the whole run, in order.
    """
    exits = [(index, event) for index, event in enumerate(events) if isinstance(event, schema.WorkerExitedEvent)]
    if record.life is not None:
        return next((index for index, event in exits if event.life == record.life), None)
    # Of a log of before lives were counted: it was written right after the line.
    return next((index for index, event in reversed(exits) if event.time <= record.time), None)


def what_followed(events: Iterable[Event]) -> str:
    """What became of the run after a death of its worker.

    Args:
        events: those after the death for which `is_of_a_process` holds, in order.
    """
    again = later = False
    for event in events:
        # The first line of a parent: the one before is gone.
        later = later or (event.rank is None and event.boot is not None)
        match event:
            case schema.RunResumedEvent() if again:
                how = "the run was resumed later, and" if later else "it was started again, and"
                return f"{how} went on from the checkpoint of step {event.checkpoint_step}"
            case schema.RunStartedEvent() if again:
                how = "the run was begun anew later" if later else "it was started again from the beginning"
                return f"{how}: there was no checkpoint to go on from"
            case schema.WorkerExitedEvent() if again:
                break
            case schema.WorkerStartedEvent():
                again = True
            case schema.WarningEvent() if not again and not later:
                # It is the parent's: it gives up.
                return f"it was not started again: {event.message}"
    if later:
        return "it was not started again; somebody tried to resume the run later"
    return "it was started again" if again else "it was not started again"


def process_advice(record: ProcessIncident, folder: Path) -> tuple[str, ...]:
    """What to do about the death of a worker, as far as the record tells why it died.

    Args:
        record: the death.
        folder: where its files lie.
    """
    last = last_line(record.reason)
    stacks = None if record.stacks is None else str(folder / record.stacks)
    if record.rows:
        return (*_about_rows(record, folder), *_about_the_process(record, stacks, last))
    return _about_the_process(record, stacks, last)


def _about_rows(record: ProcessIncident, folder: Path) -> tuple[str, ...]:
    listed = RunLayout(folder.parent.parent).deadly_rows
    said = said_of_rows(record.rows)
    return (f"{said[0].upper()}{said[1:]}: {mend_of_rows(record.rows, str(listed))}.",)


def _about_the_process(record: ProcessIncident, stacks: str | None, last: str | None) -> tuple[str, ...]:
    match record.classification:
        case ExitClassification.STALLED:
            at = "" if stacks is None else f" ({stacks})"
            return (
                f"Look at what its threads were at{at}; where a step may take so long, raise `stall_timeout_seconds` "
                "(for the first one `startup_timeout_seconds`) under `restart` in the policy.",
            )
        case ExitClassification.OUT_OF_MEMORY:
            return ("The machine ran out of memory: smaller batches, fewer loader workers, or a larger machine.",)
        case ExitClassification.KILLED if record.signal in _BY_THE_KERNEL:
            called = raised_at(record.reason)
            if called is not None:
                return (f"{record.signal} comes from native code that {called} called: look at it and at drivers.",)
            return (
                f"{record.signal} comes from native code: look at extensions and drivers, and run the trainer with "
                "`PYTHONFAULTHANDLER=1` to see which line called it.",
            )
        case ExitClassification.KILLED:
            return (
                f"Somebody outside of the run sent {record.signal}: look into the log of the machine or its queue.",
            )
        case _ if last is not None:
            line = raised_at(record.reason)
            return (f"Mend `{last}`{f' at {line}' if line else ''}; the traceback is in its incident.json.",)
        case _:
            return (f"It ended with exit code {record.exit_code} and left no traceback: look for what calls exit.",)


def told_of_each(stories: Sequence[ProcessStory]) -> list[str]:
    """The advice of all, each line once, with the deaths that it is about."""
    lines = []
    for line in dict.fromkeys(line for story in stories for line in story.advice):
        names = [story.name for story in stories if line in story.advice]
        shown = ", ".join(names[:6]) + (" and more" if len(names) > 6 else "")
        lines.append(f"- ({shown}) {line}")
    return lines
