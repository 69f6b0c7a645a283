"""What happened in an incident, gathered from its record and the event log."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from supervisor.errors import InputError
from supervisor.events import Event, schema
from supervisor.events.incident_file import IncidentFile, ProcessIncident
from supervisor.events.reader import read_sparsely
from supervisor.policy import load_policy
from supervisor.records import Outcome
from supervisor.report.advice import advice
from supervisor.report.process_story import ProcessStory, exit_of, is_of_a_process, process_advice, what_followed
from supervisor.report.run_facts import RunFacts
from supervisor.report.status import Status, as_it_is_on_disk
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
        diagnosed: whether its policy has the diagnosis on; None where that is not known.
        left_out: rows of the data set that are left out since, and were not released.
        undone: what became of one that was open when the run was resumed without it; None where that is not so.
    """

    record: IncidentFile
    folder: Path
    opened_at: datetime | None
    taken: tuple[Taken, ...]
    advice: tuple[str, ...]
    of_job: bool = True
    diagnosed: bool | None = None
    left_out: tuple[int | str, ...] = ()
    undone: str | None = None

    @property
    def name(self) -> str:
        """What it is asked for by: its number."""
        return str(self.record.id)


@dataclass(frozen=True, slots=True)
class RunStory:
    """All that went wrong in a run.

    Attributes:
        status: where the run stands.
        in_time: its incidents, of the training and of its worker process, in the order in which they came.
        damaged: what is wrong with the records that could not be read, and were passed over.
    """

    status: Status
    in_time: tuple[Story | ProcessStory, ...] = ()
    damaged: tuple[str, ...] = ()

    @property
    def incidents(self) -> tuple[Story, ...]:
        """Those of the training."""
        return tuple(story for story in self.in_time if isinstance(story, Story))

    @property
    def processes(self) -> tuple[ProcessStory, ...]:
        """Those of its worker process."""
        return tuple(story for story in self.in_time if isinstance(story, ProcessStory))

    def incident(self, name: str, run_dir: str) -> Story | ProcessStory:
        """The incident of this name: `3`, or `process-3`.

        Raises:
            InputError: there is none; the message says which there are.
        """
        kind, _, number = name.lower().rpartition("process-")
        wanted = name if not number.isdecimal() else f"{'process-' if name != number else ''}{int(number)}"
        for story in self.in_time:
            if not kind and story.name == wanted:
                return story
        names = [story.name for story in self.in_time]
        known = f"write one of {', '.join(names)}" if names else "the run has none on record"
        raise InputError(f"{run_dir}: there is no incident {name}: {known}")


def read_story(run_dir: str, *, over_damaged: bool = False) -> RunStory:
    """What went wrong in the run in `run_dir`.

    Args:
        run_dir: the run directory.
        over_damaged: pass over a record of an incident that cannot be read, and say so.

    Raises:
        InputError: there is no run, or the record of an incident cannot be read.
    """
    told, facts = _Told(), RunFacts()
    for event, void in read_sparsely(Path(run_dir)):
        facts.tell(event, void=void)
        told.tell(event, void=void)
    layout = RunLayout(Path(run_dir))
    status = as_it_is_on_disk(facts, layout.root)
    about = _OfRun(told, layout.job.is_file(), diagnosis_is_on(layout), frozenset(status.quarantined))
    found, damaged = list[tuple[float, Story | ProcessStory]](), list[str]()
    for read in _readers(layout, about):
        try:
            found.append(read())
        except InputError as error:
            if not over_damaged:
                raise
            damaged.append(str(error))
    return RunStory(status, tuple(story for _, story in sorted(found, key=itemgetter(0))), tuple(damaged))


def _readers(layout: RunLayout, about: _OfRun) -> Iterator[Callable[[], tuple[float, Story | ProcessStory]]]:
    """What reads each record that is there, and when in the log its incident began."""
    for number in layout.incident_numbers():
        if ((folder := layout.incident(number)) / INCIDENT_FILE).is_file():
            yield functools.partial(_story, folder, number, about)
    for number in layout.process_incident_numbers():
        if ((folder := layout.process_incident(number)) / INCIDENT_FILE).is_file():
            yield functools.partial(_process_story, folder, number, about.told)


def diagnosis_is_on(layout: RunLayout) -> bool | None:
    """Whether the policy of a run has the diagnosis on; None where it cannot be read."""
    try:
        return load_policy(str(layout.policy)).diagnose.enabled if layout.policy.is_file() else None
    except InputError:
        return None


def plain_incident(story: Story | ProcessStory) -> dict[str, Any]:
    """`incident.json` with what else is known beside it, for JSON."""
    record = story.record.model_dump(mode="json")
    if isinstance(story, ProcessStory):
        return {"name": story.name, **record, "followed": story.followed, "advice": list(story.advice)}
    beside = {"advice": list(story.advice), "left_out": list(story.left_out), "undone": story.undone}
    return {"name": story.name, **record, **beside}


def plain_run(story: RunStory) -> dict[str, Any]:
    """Every incident of a run, for JSON."""
    status = story.status
    return {
        "run_id": status.run_id,
        "state": status.state.value,
        "seconds": status.seconds,
        "account": None if status.account is None else status.account.model_dump(mode="json"),
        "in_time": [each.name for each in story.in_time],
        "incidents": [plain_incident(each) for each in story.incidents],
        "process_incidents": [plain_incident(each) for each in story.processes],
    }


@dataclass(frozen=True, slots=True)
class _OfRun:
    """What all incidents of a run are told with."""

    told: _Told
    of_job: bool
    diagnosed: bool | None
    left_out: frozenset[int | str]


def _story(folder: Path, number: int, about: _OfRun) -> tuple[float, Story]:
    record, events = _read(folder / INCIDENT_FILE, IncidentFile), about.told.happened.get(number, [])
    rows = [row for event in events if isinstance(event, schema.QuarantinedEvent) for row in event.dataset_indices]
    left_out = tuple(row for row in dict.fromkeys(rows) if row in about.left_out)
    story = Story(
        record=record,
        folder=folder,
        opened_at=next((event.time for event in events if isinstance(event, schema.IncidentOpenedEvent)), None),
        taken=tuple(_taken(events)),
        advice=advice(record, of_job=about.of_job, diagnosed=about.diagnosed, left_out=left_out),
        of_job=about.of_job,
        diagnosed=about.diagnosed,
        left_out=left_out,
        undone=about.told.undone(number) if record.outcome is Outcome.OPEN else None,
    )
    return about.told.opened.get(number, math.inf), story


def _process_story(folder: Path, number: int, told: _Told) -> tuple[float, ProcessStory]:
    record = _read(folder / INCIDENT_FILE, ProcessIncident)
    index = exit_of(record, [event for _, event in told.of_processes])
    followed = what_followed(event for _, event in told.of_processes[-1 if index is None else index :][1:])
    story = ProcessStory(number, record, folder, followed, process_advice(record, folder))
    return math.inf if index is None else told.of_processes[index][0], story


def _read(path: Path, kind: type[Record]) -> Record:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        why = error.strerror if isinstance(error, OSError) else f"{error.errors()[0]['msg']}"
        raise InputError(f"{path}: not the record of an incident ({why}): restore or delete it") from error


class _Told:
    """Sorts the events of a run by the incidents that they tell of.

    Attributes:
        happened: those that count, of each incident of the training, by its number.
        opened: when each of them opened, as the place of the line in the log; also of those that were made void.
        of_processes: those of the worker processes, each with its place.
    """

    def __init__(self) -> None:
        self.happened: dict[int, list[Event]] = {}
        self.opened: dict[int, int] = {}
        self.of_processes: list[tuple[int, Event]] = []
        self._signals: list[Event] = []
        self._open: set[int] = set()
        self._given_up: set[int] = set()
        self._place = 0

    def tell(self, event: Event, *, void: bool) -> None:
        """Take in the next event; signals belong to the decision on their update."""
        self._place += 1
        if is_of_a_process(event):
            self.of_processes.append((self._place, event))
        if isinstance(event, schema.RunResumedEvent) and event.ladder_begins_anew:
            self._given_up |= self._open
            self._open.clear()
        if isinstance(event, schema.IncidentOpenedEvent) and event.rank == 0:
            self.opened[event.incident] = self._place
        number = getattr(event, "incident", None)
        if void:
            return
        if isinstance(event, schema.SignalEvent):
            self._signals = [*(each for each in self._signals if each.update == event.update), event]
        if event.rank != 0 or not isinstance(number, int):
            return
        if isinstance(event, schema.IncidentClosedEvent):
            self._open.discard(number)
        elif isinstance(event, schema.IncidentOpenedEvent):
            self._open.add(number)
        if isinstance(event, schema.DecisionEvent):
            self.happened.setdefault(number, []).extend(each for each in self._signals if each.update == event.update)
            self._signals = []
        self.happened.setdefault(number, []).append(event)

    def undone(self, number: int) -> str | None:
        """Why an incident whose record says that it is open is not; None where it is."""
        if number in self.opened and number not in self.happened:
            return "undone: the run was resumed from before it"
        return "given up: the run was resumed with a ladder that begins anew" if number in self._given_up else None


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
