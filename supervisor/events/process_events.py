"""Events of the worker process, and how it ended; `schema` exports them."""

from __future__ import annotations

import enum
from typing import Literal

from pydantic import NonNegativeInt, PositiveInt

from supervisor.events.base import EventBase, Number


class ExitClassification(enum.StrEnum):
    """Why a worker process is gone."""

    FINISHED = "finished"
    HALTED = "halted"
    INTERRUPTED = "interrupted"
    UNSAVED = "unsaved"
    BAD_INPUT = "bad_input"
    EXCEPTION = "exception"
    KILLED = "killed"
    OUT_OF_MEMORY = "out_of_memory"
    STALLED = "stalled"


ORDERLY_EXITS = frozenset(
    {
        ExitClassification.FINISHED,
        ExitClassification.HALTED,
        ExitClassification.INTERRUPTED,
        ExitClassification.UNSAVED,
    }
)
"""The exits that mean no harm: the run itself chose them."""


class WorkerStartedEvent(EventBase):
    """The parent started a worker process.

    Attributes:
        pid: its process id.
        restarts: restarts spent so far within the window.
        steps: where the schedule ends.
    """

    event: Literal["worker_started"] = "worker_started"
    pid: PositiveInt
    restarts: NonNegativeInt = 0
    steps: PositiveInt | None = None


class WorkerExitedEvent(EventBase):
    """A worker process is gone.

    Attributes:
        pid: its process id.
        exit_code: what it exited with, None where a signal ended it.
        signal: name of the signal that ended it, such as `SIGKILL`, else None.
        classification: why.
        reason: more, where more is known, such as the last line of its traceback.
        rows: of the data set, of which one was being read when it, or a process of its loader, ended; None: none was.
    """

    event: Literal["worker_exited"] = "worker_exited"
    pid: PositiveInt
    exit_code: int | None
    signal: str | None
    classification: ExitClassification
    reason: str | None = None
    rows: tuple[int | str, ...] | None = None


class WorkerRestartingEvent(EventBase):
    """A worker has died, and the parent waits before it starts the next one.

    Attributes:
        seconds: how long.
    """

    event: Literal["worker_restarting"] = "worker_restarting"
    seconds: Number


class WorkerStalledEvent(EventBase):
    """A worker's heartbeat has been still for too long.

    Attributes:
        pid: its process id.
        seconds: how long.
        limit: the policy's key that allows no longer, as `restart.stall_timeout_seconds`.
    """

    event: Literal["worker_stalled"] = "worker_stalled"
    pid: PositiveInt
    seconds: Number
    limit: str | None = None
