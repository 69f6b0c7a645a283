"""What became of a run after its worker process was gone, and what to change about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from supervisor.events import schema
from supervisor.events.incident_file import ProcessIncident
from supervisor.events.schema import Event, ExitClassification

__all__ = ["ProcessStory", "is_of_a_process", "last_line", "process_advice", "told_of_each", "what_followed"]

_BY_THE_KERNEL = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT")


@dataclass(frozen=True, slots=True)
class ProcessStory:
    """One death or stall of the worker process.

    Attributes:
        record: its `incident.json`.
        folder: where that lies.
        followed: what became of the run after it, one sentence.
        advice: what a person should change.
    """

    record: ProcessIncident
    folder: Path
    followed: str
    advice: tuple[str, ...] = ()


def is_of_a_process(event: Event) -> bool:
    """Whether `what_followed` reads it."""
    kinds = (schema.WorkerStartedEvent, schema.WorkerExitedEvent, schema.RunStartedEvent, schema.RunResumedEvent)
    return isinstance(event, kinds) or (isinstance(event, schema.WarningEvent) and event.rank is None)


def what_followed(record: ProcessIncident, events: Iterable[Event]) -> str:
    """What became of the run after a death of its worker, by the events of its processes in order.

    Args:
        record: the death.
        events: those of the whole run for which `is_of_a_process` holds.
    """
    again = False
    for event in events:
        if event.time < record.time:
            continue
        match event:
            case schema.RunResumedEvent() if again:
                return f"it was started again, and went on from the checkpoint of step {event.checkpoint_step}"
            case schema.RunStartedEvent() if again:
                return "it was started again from the beginning: there was no checkpoint to go on from"
            case schema.WorkerExitedEvent() if again:
                break
            case schema.WorkerStartedEvent():
                again = True
            case schema.WarningEvent() if not again:
                # It is the parent's: it gives up.
                return f"it was not started again: {event.message}"
    return "it was started again" if again else "it was not started again"


def process_advice(record: ProcessIncident, folder: Path) -> tuple[str, ...]:
    """What to do about the death of a worker, as far as the record tells why it died.

    Args:
        record: the death.
        folder: where its files lie.
    """
    last = last_line(record.reason)
    stacks = None if record.stacks is None else str(folder / record.stacks)
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
            return (
                f"{record.signal} comes from native code: look at extensions and drivers, and run the trainer with "
                "`PYTHONFAULTHANDLER=1` to see which line called it.",
            )
        case ExitClassification.KILLED:
            return (
                f"Somebody outside of the run sent {record.signal}: look into the log of the machine or its queue.",
            )
        case _ if last is not None:
            return (f"Mend `{last}`; the traceback is in its incident.json.",)
        case _:
            return (f"It ended with exit code {record.exit_code} and left no traceback: look for what calls exit.",)


def last_line(reason: str | None) -> str | None:
    """The last line of a traceback, which names the exception; None where there is none."""
    lines = (reason or "").strip().splitlines()
    return lines[-1] if lines else None


def told_of_each(stories: Sequence[ProcessStory]) -> list[str]:
    """The advice of all, each line once, with the deaths that it is about."""
    lines = []
    for line in dict.fromkeys(line for story in stories for line in story.advice):
        names = [story.folder.name for story in stories if line in story.advice]
        shown = ", ".join(names[:6]) + (" and more" if len(names) > 6 else "")
        lines.append(f"- ({shown}) {line}")
    return lines
