"""Reads a run's events back: all files merged, in order, without what a resume made void."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from pathlib import Path

from supervisor.clock import Clock, SystemClock
from supervisor.errors import InputError
from supervisor.events import schema
from supervisor.events.event_file import EventFile
from supervisor.events.schema import Event
from supervisor.run_layout import RunLayout

__all__ = ["follow", "read_events"]

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
        there, a_run = run_dir.is_dir(), RunLayout(run_dir).events.is_dir()
    except OSError as error:
        problem = f"{run_dir}: cannot be read ({error.strerror}): name the folder that the run was given as `run_dir`"
        raise InputError(problem) from error
    if not there:
        raise InputError(f"{run_dir}: no such run directory: name the folder that the run was given as `run_dir`")
    if not a_run:
        raise InputError(f"{run_dir}: not a run directory, it has no events/: name the folder of a run")


def _merged(files: Iterable[EventFile]) -> Iterator[Event]:
    return heapq.merge(*(file.events() for file in files), key=attrgetter("time"))
