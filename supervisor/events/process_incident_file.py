"""`incidents/process-0001/incident.json`: one death or stall of a worker process."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from supervisor.events.durability_events import ExitClassification
from supervisor.events.numbers import UtcTime

__all__ = ["ProcessIncident"]


class ProcessIncident(BaseModel):
    """`incident.json` of a process.

    Attributes:
        time: when the worker was found to be gone.
        classification: why it is gone.
        exit_code: what it exited with, None where a signal ended it.
        signal: the signal that ended it, else None.
        reason: its traceback, where it left one.
        stacks: name of the file beside it with every thread's stack, None where there is none.
    """

    model_config = ConfigDict(frozen=True)

    time: UtcTime
    classification: ExitClassification
    exit_code: int | None
    signal: str | None
    reason: str | None
    stacks: str | None
