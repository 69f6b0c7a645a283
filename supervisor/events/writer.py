"""The one writer of an event file: one call feeds the file and everyone who listens, through structlog."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import structlog
from structlog.typing import EventDict

from supervisor.clock import Clock, SystemClock
from supervisor.errors import InputError, said_by
from supervisor.events.base import EventBase
from supervisor.events.line_file import LineFile
from supervisor.events.owner_file import monotonic_since
from supervisor.events.schema import (
    Event,
    KnownEvent,
    RunResumedEvent,
    RunStartedEvent,
    SignalEvent,
    WarningEvent,
    WorkerStartedEvent,
)
from supervisor.events.stderr import say
from supervisor.run_layout import PARENT_LOG

__all__ = ["EventLog", "Listener"]

Listener = Callable[[Event], None]
"""Is called with each event after it is written, in the thread that emitted it."""

_DURABLE = frozenset({"incident_opened", "checkpoint_saved", "checkpoint_promoted", "run_halted", "run_finished"})
# These do not pass by waiting, so they are for the user to mend before anything starts.
_HOPELESS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST})


class EventLog:
    """Writes a run's events as they happen.

    A disk that refuses a line never stops the training: that is said once on stderr and to the listeners,
    later events are tried again, and the first that gets through is followed by a warning that counts the
    missing. Where somebody removes the file, a new one is begun with the event that the run began with, and a warning
    says what is lost. A listener that raises is reported on stderr and left out from then on.

    Args:
        path: the file, `RUN_DIR/events/rank0.jsonl` or `supervisor.jsonl`; None writes nothing, and listeners
            hear all the same.
        run_id: stamped on each line.
        rank: stamped on each line; None in the parent.
        clock: gives each line its time.
        listeners: called with each event, in this order.

    Raises:
        InputError: the file may not be written here at all.

    Attributes:
        warnings: how many warnings were emitted so far.
        life: which worker of the run was the last to be started, from 1; None where no parent keeps count.
    """

    def __init__(
        self,
        path: Path | None,
        run_id: str,
        rank: int | None,
        clock: Clock | None = None,
        listeners: Iterable[Listener] = (),
    ) -> None:
        self.path = path
        self.run_id = run_id
        self.rank = rank
        self._clock = clock or SystemClock()
        self._listeners = list(listeners)
        self.warnings = 0
        self._missing = 0
        self._began: str | None = None  # the line that the run began with, in this process
        # Reentrant, for a listener that emits.
        self._lock = threading.RLock()
        self._logger: structlog.BoundLogger = structlog.wrap_logger(
            structlog.ReturnLogger(), [self._stamp], structlog.BoundLogger, run_id=run_id, rank=rank
        ).bind()
        self._boot: str | None = monotonic_since()
        self.life = None if path is None else _lives(path.with_name(PARENT_LOG), parents_own=rank is None)
        self._file = None if path is None else LineFile(path)
        if self._file is not None:
            try:
                self._file.open()
            except OSError as error:
                # A full disk may recover, and the first event that does not get through says so.
                if error.errno in _HOPELESS:
                    problem = f"{path}: cannot be written ({error.strerror}): choose another run directory"
                    raise InputError(problem) from error

    def emit(self, event: KnownEvent) -> None:
        """Stamp `event` with the time, the run and the rank, write it, and tell the listeners.

        Flushed before it returns, and on disk where an incident opens, a checkpoint commits or the run ends.
        Safe from several threads, not from a signal handler.

        Raises:
            TypeError: the event has a field that its model does not: a misspelt name.
        """
        if event.model_extra and not isinstance(event, SignalEvent):
            unknown = ", ".join(sorted(event.model_extra))
            raise TypeError(f"{type(event).__name__} has no field {unknown}")
        with self._lock:
            if isinstance(event, WorkerStartedEvent) and self.life is not None:
                self.life += 1
            self._pass_on(event)

    def warn(self, message: str, step: int | None = None, update: int | None = None, *, spoken: bool = True) -> None:
        """Emit a warning, about an update where one is named."""
        self.emit(WarningEvent(step=step, update=update, message=message, spoken=spoken))

    def close(self) -> None:
        """Close the file. A later `emit` opens it again."""
        with self._lock, contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _stamp(self, logger: Any, method: str, fields: EventDict) -> tuple[tuple[EventBase], dict[str, Any]]:
        stamp = {
            "time": self._clock.now(),
            "run_id": fields["run_id"],
            "rank": fields["rank"],
            "life": self.life,
            "monotonic": round(self._clock.monotonic(), 6),
            "boot": self._boot,
        }
        self._boot = None
        return (fields["body"].model_copy(update=stamp),), {}

    def _pass_on(self, event: EventBase, *, in_file: bool = True) -> None:
        """Stamp an event; write it, where it goes into the file too; tell the listeners."""
        stamped = self._logger.msg(event.event, body=event)
        self.warnings += isinstance(event, WarningEvent)
        missing = self._missing
        if in_file and self._file is not None:
            self._write(self._file, stamped)
        for listener in tuple(self._listeners):
            try:
                listener(stamped)
            except Exception as error:  # noqa: BLE001  (a broken display must not stop the training)
                self._listeners.remove(listener)
                say(f"event listener {_named(listener)} left out: {said_by(error)}")
        if missing and self._missing == 0:
            message = f"up to {missing} events before the last are missing: the disk refused them"
            self._pass_on(WarningEvent(message=message))

    def _write(self, file: LineFile, event: EventBase) -> None:
        line = event.model_dump_json(by_alias=True)
        removed = file.removed
        try:
            if removed and self._began is not None:
                file.append(self._began, durable=False)
            file.append(line, durable=event.event in _DURABLE)
        except OSError as error:
            self._missing += 1
            if self._missing == 1:
                message = f"{file.path}: cannot write events ({error.strerror or error}): the run goes on"
                say(message)
                self._pass_on(WarningEvent(message=message, spoken=False), in_file=False)
        else:
            self._missing = 0
        if isinstance(event, RunStartedEvent | RunResumedEvent):
            self._began = line
        if removed:
            lost = f"{file.path}: was removed while the run wrote to it: what it held is lost, and it is begun anew"
            self._pass_on(WarningEvent(message=lost))


def _lives(parent_log: Path, *, parents_own: bool) -> int | None:
    """How many workers the parent has started so far; None where there is no parent that counts."""
    try:
        with parent_log.open("rb") as lines:
            return sum(b'"worker_started"' in line for line in lines)
    except OSError:
        return 0 if parents_own else None


def _named(listener: Listener) -> str:
    try:
        return repr(listener)
    except Exception:  # noqa: BLE001  (the user's `__repr__` may raise anything)
        return f"of class {type(listener).__name__}"
