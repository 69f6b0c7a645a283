"""Reads a run's events back: all files merged, in order, whole lines only, and none that a resume made void."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from supervisor.clock import Clock, SystemClock
from supervisor.errors import InputError
from supervisor.events import schema
from supervisor.events.event_file import EventFile, head_of
from supervisor.events.owner_file import read_owner
from supervisor.events.schema import Event
from supervisor.events.sparse_file import SparseFile
from supervisor.run_layout import RunLayout

__all__ = ["check_run_dir", "follow", "merged", "order_of", "read_events", "read_sparsely"]

_FINAL_EXITS = schema.ORDERLY_EXITS | {schema.ExitClassification.BAD_INPUT}


def read_events(run_dir: Path, *, with_void: bool = False, named: str | None = None) -> Iterator[Event]:
    """The events of a run in order; each file keeps its own.

    Left out: a torn last line, and lines that a later `run_resumed` of the same rank made void. Each file is
    read twice, and one line of each is held at a time.

    The order is that of the lives of the worker, and in each its start, what it wrote, and what its parent wrote of it:
    times of day are not looked at, for a clock may be set back. Only where no parent has counted the lives do they
    order the files.

    Args:
        run_dir: the run directory.
        with_void: give those lines too: what happened, not only what counts.
        named: only events of this name; other lines are not looked into.

    Raises:
        InputError: there is no run here (at once), a file cannot be read, or a line before its last is no event (when
            it is met).
    """
    check_run_dir(run_dir)
    files = [EventFile(path, with_void=with_void, named=named) for path in RunLayout(run_dir).event_files()]
    return (event for event, _ in merged(files))


def read_sparsely(run_dir: Path) -> Iterator[tuple[Event, bool]]:
    """Every event of a run with whether a resume made it void; of `step` events in a row only the last.

    Of a row whose last one is void the last that counts is given before it. A long log is little else, and the lines
    in between are not looked into, so that a million lines take less than a second.

    Args:
        run_dir: the run directory.

    Raises:
        InputError: as `read_events`.
    """
    check_run_dir(run_dir)
    return merged([SparseFile(path) for path in RunLayout(run_dir).event_files()])


def follow(
    run_dir: Path,
    *,
    clock: Clock | None = None,
    poll_seconds: float = 0.5,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """The events so far, then each as it is written, until the run has ended, its process is gone, or `stop` says so.

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
    check_run_dir(run_dir)
    return _follow(run_dir, clock or SystemClock(), poll_seconds, stop)


def _follow(run_dir: Path, clock: Clock, poll_seconds: float, stop: Callable[[], bool]) -> Iterator[Event]:
    files: dict[Path, EventFile] = {}
    heads: dict[Path, bytes] = {}
    ended = False
    layout = RunLayout(run_dir)
    while True:
        # Asked before the files are read: what it wrote last is read still.
        owner = read_owner(layout.lock)
        gone = owner is not None and owner.alive is False
        for path in layout.event_files():
            head = head_of(path)
            if not head.startswith(heads.get(path, b"")):
                # A worker that begins anew writes another file of the same name.
                del files[path]
            heads[path] = head
            files.setdefault(path, EventFile(path))
        for event, _ in merged(files.values()):
            ended = _has_ended(event, ended)
            yield event
        if ended or gone or stop():
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


def check_run_dir(run_dir: Path) -> None:
    """Nothing where a folder holds the log of a run, however far it has got.

    Raises:
        InputError: it does not, and what to name instead.
    """
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
        mend = f"name the folder of a run, as `supervisor runs {run_dir}` lists those below it"
        raise InputError(f"{run_dir}: not a run directory, it has no events/: {mend}")


def merged(files: Iterable[EventFile | SparseFile]) -> Iterator[tuple[Event, bool]]:
    """What the files hold from where each was read to, in order, with whether it is void."""
    return heapq.merge(*map(_marked, files), key=_place)


def _marked(file: EventFile | SparseFile) -> Iterator[tuple[Event, bool]]:
    try:
        yield from file.marked()
    except OSError as error:
        mend = "restore it, or get the right to read it"
        raise InputError(f"{file.path}: cannot be read ({error.strerror}): {mend}") from error


def _place(marked: tuple[Event, bool]) -> tuple[int, int, float]:
    return order_of(marked[0])


def order_of(event: Event) -> tuple[int, int, float]:
    """What the events of several files are sorted by."""
    if not event.life:
        return 0, 0, event.time.timestamp()
    if event.rank is not None:
        return event.life, 1, event.monotonic or 0.0
    return event.life, 0 if isinstance(event, schema.WorkerStartedEvent) else 2, 0.0
