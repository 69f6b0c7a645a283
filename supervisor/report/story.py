"""What happened in an incident, gathered from its record and the event log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from supervisor.errors import InputError
from supervisor.events import Event, read_events, schema
from supervisor.events.incident_file import IncidentFile, ProcessIncident
from supervisor.report.advice import advice
from supervisor.report.process_story import ProcessStory, is_of_a_process, process_advice, what_followed
from supervisor.report.status import Status, status_of, unless_gone
from supervisor.run_layout import INCIDENT_FILE, RunLayout

__all__ = ["RunStory", "Story", "Taken", "plain_incident", "plain_run", "read_story"]

Record = TypeVar("Record", IncidentFile, ProcessIncident)


@dataclass(frozen=True, slots=True)
class Taken:
    """One flagged update of an incident: what was found and what was done.

    Attributes:
        signals: the findings, furthest upstream first.
        decision: what was decided last for it.
        failures: actions that failed before it, with their errors.
        applied: what the action did, None where that is not on record.
    """

    signals: tuple[schema.SignalEvent, ...]
    decision: schema.DecisionEvent
    failures: tuple[schema.ActionFailedEvent, ...] = ()
    applied: schema.ActionAppliedEvent | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """One incident of the training.

    Attributes:
        record: its `incident.json`.
        folder: where that lies.
        opened_at: when it opened, None where no event tells.
        taken: its flagged updates, in order.
        advice: what a person should change.
        of_job: whether the run has a job, from which its trainer can be built again.
    """

    record: IncidentFile
    folder: Path
    opened_at: datetime | None
    taken: tuple[Taken, ...]
    advice: tuple[str, ...]
    of_job: bool = True


@dataclass(frozen=True, slots=True)
class RunStory:
    """All that went wrong in a run.

    Attributes:
        status: where the run stands.
        incidents: of the training, in order.
        processes: of its worker process, in order.
    """

    status: Status
    incidents: tuple[Story, ...] = ()
    processes: tuple[ProcessStory, ...] = ()

    def incident(self, number: int, run_dir: str) -> Story:
        """The incident of this number.

        Raises:
            InputError: there is none; the message says which there are.
        """
        for story in self.incidents:
            if story.record.id == number:
                return story
        numbers = [str(story.record.id) for story in self.incidents]
        known = f"write one of {', '.join(numbers)}" if numbers else "the run has none on record"
        raise InputError(f"{run_dir}: there is no incident {number}: {known}")


def read_story(run_dir: str) -> RunStory:
    """What went wrong in the run in `run_dir`.

    Raises:
        InputError: there is no run, or the record of an incident cannot be read.
    """
    happened: dict[int, list[Event]] = {}
    of_processes: list[Event] = []
    told = status_of(_sorted_into(happened, of_processes, read_events(Path(run_dir))))
    layout = RunLayout(Path(run_dir))
    of_job = layout.job.is_file()
    incidents = [
        _story(folder, happened.get(number, ()), of_job=of_job)
        for number in layout.incident_numbers()
        if ((folder := layout.incident(number)) / INCIDENT_FILE).is_file()
    ]
    processes = [
        _process_story(folder, of_processes)
        for number in layout.process_incident_numbers()
        if ((folder := layout.process_incident(number)) / INCIDENT_FILE).is_file()
    ]
    return RunStory(unless_gone(told, Path(run_dir)), tuple(incidents), tuple(processes))


def plain_incident(story: Story) -> dict[str, Any]:
    """`incident.json` with the advice beside it, for JSON."""
    return {**story.record.model_dump(mode="json"), "advice": list(story.advice)}


def plain_run(story: RunStory) -> dict[str, Any]:
    """Every incident of a run, for JSON."""
    return {
        "run_id": story.status.run_id,
        "state": story.status.state.value,
        "incidents": [plain_incident(each) for each in story.incidents],
        "process_incidents": [
            {**each.record.model_dump(mode="json"), "followed": each.followed, "advice": list(each.advice)}
            for each in story.processes
        ],
    }


def _story(folder: Path, events: Iterable[Event], *, of_job: bool) -> Story:
    record = _read(folder / INCIDENT_FILE, IncidentFile)
    events = list(events)
    opened = next((event.time for event in events if isinstance(event, schema.IncidentOpenedEvent)), None)
    return Story(record, folder, opened, tuple(_taken(events)), advice(record, of_job=of_job), of_job)


def _process_story(folder: Path, events: Iterable[Event]) -> ProcessStory:
    record = _read(folder / INCIDENT_FILE, ProcessIncident)
    return ProcessStory(record, folder, what_followed(record, events), process_advice(record, folder))


def _read(path: Path, kind: type[Record]) -> Record:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        why = error.strerror if isinstance(error, OSError) else f"{error.errors()[0]['msg']}"
        raise InputError(f"{path}: not the record of an incident ({why}): restore or delete it") from error


def _sorted_into(found: dict[int, list[Event]], of_processes: list[Event], events: Iterable[Event]) -> Iterator[Event]:
    """Pass all events on, and keep those of each incident: signals belong to the decision on their update.

    Args:
        found: takes the events of each incident, by its number.
        of_processes: takes those of the worker processes.
        events: all of them.
    """
    signals: list[Event] = []
    for event in events:
        yield event
        if is_of_a_process(event):
            of_processes.append(event)
        if isinstance(event, schema.SignalEvent):
            signals = [*(each for each in signals if each.update == event.update), event]
        number = getattr(event, "incident", None)
        if event.rank != 0 or not isinstance(number, int):
            continue
        if isinstance(event, schema.DecisionEvent):
            found.setdefault(number, []).extend(each for each in signals if each.update == event.update)
            signals = []
        found.setdefault(number, []).append(event)


def _taken(events: Iterable[Event]) -> Iterator[Taken]:
    by_update: dict[int, list[Event]] = {}
    for event in events:
        if event.update is not None:
            by_update.setdefault(event.update, []).append(event)
    for told in by_update.values():
        decisions = [event for event in told if isinstance(event, schema.DecisionEvent)]
        applied = [event for event in told if isinstance(event, schema.ActionAppliedEvent)]
        if decisions:
            yield Taken(
                signals=tuple(event for event in told if isinstance(event, schema.SignalEvent)),
                decision=decisions[-1],
                failures=tuple(event for event in told if isinstance(event, schema.ActionFailedEvent)),
                applied=applied[-1] if applied else None,
            )
