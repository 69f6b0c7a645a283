"""The one writer of an event file: one call feeds the file and everyone who listens, through structlog."""

from __future__ import annotations

import contextlib
import errno
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import structlog
from structlog.typing import EventDict

from supervisor.clock import Clock, SystemClock
from supervisor.errors import InputError
from supervisor.events.base import EventBase
from supervisor.events.line_file import LineFile
from supervisor.events.schema import Event, KnownEvent, SignalEvent, WarningEvent

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
    missing. A listener that raises is reported on stderr and left out from then on.

    Args:
        path: the file, `RUN_DIR/events/rank0.jsonl` or `supervisor.jsonl`; None writes nothing, and listeners
            hear all the same.
        run_id: stamped on each line.
        rank: stamped on each line; None in the parent.
        clock: gives each line its time.
        listeners: called with each event, in this order.

    Raises:
        InputError: the file may not be written here at all.
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
        self._sinks = _Sinks(path, list(listeners), self._announce)
        # Reentrant, for a listener that emits.
        self._lock = threading.RLock()
        self._logger: _EventLogger = structlog.wrap_logger(
            self._sinks,
            processors=[self._stamp, _render],
            wrapper_class=_EventLogger,
            run_id=run_id,
            rank=rank,
        ).bind()

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
            self._logger.emit(event)

    def add_listener(self, listener: Listener) -> None:
        """Call `listener` with each event from now on."""
        with self._lock:
            self._sinks.listeners.append(listener)

    def close(self) -> None:
        """Close the file. A later `emit` opens it again."""
        with self._lock:
            self._sinks.close()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _stamp(self, logger: Any, method: str, fields: EventDict) -> EventDict:
        return {**fields, "time": self._clock.now()}

    def _announce(self, message: str, *, in_file: bool) -> None:
        self._logger.emit(WarningEvent(message=message), in_file=in_file)


class _EventLogger(structlog.BoundLoggerBase):
    """The one method of the log; `run_id` and `rank` are its bound context."""

    def emit(self, event: EventBase, *, in_file: bool = True) -> None:
        self._proxy_to_logger("emit", event.event, body=event, in_file=in_file)


def _render(logger: Any, method: str, fields: EventDict) -> tuple[tuple[Any, ...], dict[str, Any]]:
    stamp = {name: fields[name] for name in ("time", "run_id", "rank")}
    event: EventBase = fields["body"].model_copy(update=stamp)
    return (event.model_dump_json(by_alias=True), event), {"in_file": fields["in_file"]}


class _Sinks:
    """Where a rendered event goes: the file, then the listeners."""

    def __init__(self, path: Path | None, listeners: list[Listener], announce: Callable[..., None]) -> None:
        self.listeners = listeners
        self._announce = announce
        self._file = None if path is None else LineFile(path)
        self._missing = 0
        if self._file is not None:
            try:
                self._file.open()
            except OSError as error:
                # A full disk may recover, and the first event that does not get through says so.
                if error.errno in _HOPELESS:
                    problem = f"{path}: cannot be written ({error.strerror}): choose another run directory"
                    raise InputError(problem) from error

    def emit(self, line: str, event: Event, *, in_file: bool) -> None:
        missing = self._missing
        if in_file and self._file is not None:
            self._write(self._file, line, event.event)
        for listener in tuple(self.listeners):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001  (a broken display must not stop the training)
                self.listeners.remove(listener)
                _say(f"event listener {listener!r} left out: {type(error).__name__}: {error}")
        if missing and self._missing == 0:
            message = f"up to {missing} events before the last are missing: the disk refused them"
            self._announce(message, in_file=True)

    def _write(self, file: LineFile, line: str, name: str) -> None:
        try:
            file.append(line, durable=name in _DURABLE)
        except OSError as error:
            self._missing += 1
            if self._missing == 1:
                message = f"{file.path}: cannot write events ({error.strerror or error}): the run goes on"
                _say(message)
                self._announce(message, in_file=False)
        else:
            self._missing = 0

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()


def _say(message: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"supervisor: {message}\n")
        sys.stderr.flush()
