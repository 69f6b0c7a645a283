"""Events of what outlives a step: checkpoints, and the worker process itself."""

from __future__ import annotations

import enum
from typing import Literal

from pydantic import NonNegativeInt, PositiveInt

from supervisor.events.base import EventBase
from supervisor.events.numbers import Number

__all__ = [
    "ORDERLY_EXITS",
    "CheckpointPromotedEvent",
    "CheckpointRejectedEvent",
    "CheckpointSavedEvent",
    "ExitClassification",
    "WorkerExitedEvent",
    "WorkerStalledEvent",
    "WorkerStartedEvent",
]


class ExitClassification(enum.StrEnum):
    """Why a worker process is gone."""

    FINISHED = "finished"
    HALTED = "halted"
    INTERRUPTED = "interrupted"
    BAD_INPUT = "bad_input"
    EXCEPTION = "exception"
    KILLED = "killed"
    OUT_OF_MEMORY = "out_of_memory"
    STALLED = "stalled"


ORDERLY_EXITS = frozenset({ExitClassification.FINISHED, ExitClassification.HALTED, ExitClassification.INTERRUPTED})
"""The exits that mean no harm: the run itself chose them."""


class _CheckpointEvent(EventBase):
    """The fields of the three checkpoint events; `path` is relative to the run directory."""

    checkpoint_step: NonNegativeInt
    path: str
    reason: str | None = None


class CheckpointSavedEvent(_CheckpointEvent):
    """A checkpoint is committed: durable, not yet good."""

    event: Literal["checkpoint_saved"] = "checkpoint_saved"


class CheckpointPromotedEvent(_CheckpointEvent):
    """A checkpoint is good from here on."""

    event: Literal["checkpoint_promoted"] = "checkpoint_promoted"


class CheckpointRejectedEvent(_CheckpointEvent):
    """A checkpoint was passed over or retired, and why."""

    event: Literal["checkpoint_rejected"] = "checkpoint_rejected"
    reason: str


class WorkerStartedEvent(EventBase):
    """The parent started a worker process.

    Attributes:
        pid: its process id.
        restarts: restarts spent so far within the window.
    """

    event: Literal["worker_started"] = "worker_started"
    pid: PositiveInt
    restarts: NonNegativeInt = 0


class WorkerExitedEvent(EventBase):
    """A worker process is gone.

    Attributes:
        pid: its process id.
        exit_code: what it exited with, None where a signal ended it.
        signal: name of the signal that ended it, such as `SIGKILL`, else None.
        classification: why.
        reason: more, where more is known, such as the last line of its traceback.
    """

    event: Literal["worker_exited"] = "worker_exited"
    pid: PositiveInt
    exit_code: int | None
    signal: str | None
    classification: ExitClassification
    reason: str | None = None


class WorkerStalledEvent(EventBase):
    """A worker's heartbeat has been still for `seconds`."""

    event: Literal["worker_stalled"] = "worker_stalled"
    pid: PositiveInt
    seconds: Number
