"""Reads a run's events back: all files merged, in order, whole lines only, and none that a resume made void."""

from __future__ import annotations

import heapq
import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from pathlib import Path

from pydantic import ValidationError

from supervisor.clock import Clock, SystemClock
from supervisor.errors import InputError
from supervisor.events import schema
from supervisor.events.schema import Event, parse_event
from supervisor.run_layout import RunLayout

__all__ = ["EventFile", "follow", "read_events"]

_FINAL_EXITS = schema.ORDERLY_EXITS | {schema.ExitClassification.BAD_INPUT}


def read_events(run_dir: Path, *, with_void: bool = False) -> Iterator[Event]:
    """The events of a run, by time; each file keeps its own order.

    Left out: a torn last line, and lines that a later `run_resumed` of the same rank made void. Each file is
    read twice, and one line of each is held at a time.

    Args:
        run_dir: the run directory.
        with_void: give those lines too: what happened, not only what counts.

    Raises:
        InputError: there is no run here (at once), or a line before the last is no event (when it is met).
    """
    _check(run_dir)
    return _merged([EventFile(path, with_void=with_void) for path in RunLayout(run_dir).event_files()])


def follow(
    run_dir: Path,
    *,
    clock: Clock | None = None,
    poll_seconds: float = 0.5,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """The events so far, then each as it is written, until the run has ended or `stop` says so.

    Events of one poll come in order. What has been handed out cannot be taken back: where a run is resumed
    while it is followed, its `run_resumed` tells which of the earlier events are void.

    Args:
        run_dir: the run directory.
        clock: waits between polls.
        poll_seconds: how long, in seconds.
        stop: asked before each wait.

    Raises:
        InputError: as `read_events`.
    """
    _check(run_dir)
    return _follow(run_dir, clock or SystemClock(), poll_seconds, stop)


def _follow(run_dir: Path, clock: Clock, poll_seconds: float, stop: Callable[[], bool]) -> Iterator[Event]:
    files: dict[Path, EventFile] = {}
    ended = False
    while True:
        for path in RunLayout(run_dir).event_files():
            files.setdefault(path, EventFile(path))
        for event in _merged(files.values()):
            ended = _has_ended(event, ended)
            yield event
        if ended or stop():
            return
        clock.sleep(poll_seconds)


def _has_ended(event: Event, before: bool) -> bool:
    match event:
        case schema.RunStartedEvent() | schema.RunResumedEvent() | schema.WorkerStartedEvent():
            return False
        case schema.RunFinishedEvent() | schema.RunHaltedEvent():
            return True
        case schema.WorkerExitedEvent():
            # No other exit is final: the parent may start the worker again.
            return before or event.classification in _FINAL_EXITS
        case _:
            return before


def _check(run_dir: Path) -> None:
    try:
        there, a_run, a_file = run_dir.is_dir(), RunLayout(run_dir).events.is_dir(), run_dir.is_file()
    except OSError as error:
        problem = f"{run_dir}: cannot be read ({error.strerror}): name the folder that the run was given as `run_dir`"
        raise InputError(problem) from error
    if a_file:
        raise InputError(f"{run_dir}: is a file: name the folder that the run was given as `run_dir`")
    if not there:
        raise InputError(f"{run_dir}: no such run directory: name the folder that the run was given as `run_dir`")
    if not a_run:
        raise InputError(f"{run_dir}: not a run directory, it has no events/: name the folder of a run")


def _merged(files: Iterable[EventFile]) -> Iterator[Event]:
    return heapq.merge(*(file.events() for file in files), key=attrgetter("time"))


@dataclass
class EventFile:
    """A file, and how far it has been read.

    Attributes:
        path: the file.
        offset: where the next line to read starts, in bytes.
        line: how many lines have been read.
        with_void: whether lines that a resume made void are given too.
    """

    path: Path
    offset: int = 0
    line: int = 0
    with_void: bool = False

    def events(self) -> Iterator[Event]:
        """The events from where the last call stopped to the last whole line that there is now.

        Raises:
            InputError: a line that another one follows is not an event.
        """
        end, resumes = self._scan()
        with self.path.open("rb") as file:
            file.seek(self.offset)
            while self.offset < end:
                text = file.readline()
                if not text.endswith(b"\n"):
                    # A writer cut the file meanwhile.
                    return
                try:
                    event = parse_event(text)
                except ValueError as error:
                    if self.offset + len(text) >= end:
                        # Torn by a power cut, newline and all. Read again when there is more.
                        return
                    where = f"{self.path}:{self.line + 1}"
                    raise InputError(f"{where}: not an event: {_why(error)}: restore or delete it") from error
                self.offset += len(text)
                self.line += 1
                if self.with_void or not resumes.void(self.line, event):
                    yield event

    def _scan(self) -> tuple[int, _Resumes]:
        """Where the last whole line ends, and the resumes before it."""
        resumes = _Resumes()
        end, line = self.offset, self.line
        with self.path.open("rb") as file:
            file.seek(self.offset)
            for text in file:
                if not text.endswith(b"\n"):
                    break
                end += len(text)
                line += 1
                if b'"run_resumed"' in text:
                    resumes.note(text, line)
        return end, resumes


class _Resumes:
    """The resumes of one file: tells which lines they made void, in the logarithm of their number."""

    def __init__(self) -> None:
        self._by_rank: dict[int | None, list[tuple[int, int]]] = {}

    def note(self, text: bytes, line: int) -> None:
        """Take in the resume on `line` (from 1)."""
        try:
            event = json.loads(text)
            if event["event"] != "run_resumed" or event["update"] is None:
                return
            rank, update = event["rank"], int(event["update"])
        except (ValueError, TypeError, KeyError):
            # Not an event: the reading that follows says so, and where.
            return
        resumes = self._by_rank.setdefault(rank, [])
        # Earlier ones that did not go further back void nothing that this one does not.
        while resumes and resumes[-1][1] >= update:
            resumes.pop()
        resumes.append((line, update))

    def void(self, line: int, event: Event) -> bool:
        """Whether `event`, which stands on `line` (from 1), was lost in a later resume."""
        resumes = self._by_rank.get(event.rank, [])
        later = bisect_right(resumes, line, key=itemgetter(0))
        return event.update is not None and later < len(resumes) and resumes[later][1] <= event.update


def _why(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return f"{where}: {first['msg']}" if where else first["msg"]
