"""`incident.json`, in `incidents/0001/` for the training and in `incidents/process-0001/` for a worker process."""

from __future__ import annotations

from pydantic import NonNegativeInt, PositiveInt

from supervisor.events.base import Number, RecordModel, UtcTime
from supervisor.events.process_events import ExitClassification
from supervisor.records import ActionName, Bundle, Cause, Decision, Outcome, SignalName

__all__ = ["BATCH_FILE", "STATE_FILE", "CureRow", "IncidentCost", "IncidentFile", "ProcessIncident"]

BATCH_FILE = "batch.pt"
STATE_FILE = "state.pt"


class IncidentCost(RecordModel):
    """What an incident cost: steps flagged or gone back over, each once, and wall time in seconds."""

    steps_lost: NonNegativeInt
    seconds: Number


class CureRow(RecordModel):
    """A cure that was tried: its name, the median loss after it, from which step, and whether it was put in force."""

    cure: str
    score: Number
    from_step: NonNegativeInt = 0
    chosen: bool = False


class IncidentFile(RecordModel):
    """The record of one incident; see `supervisor.records.Incident` for the fields.

    Attributes:
        cause: why it happened, as its first flagged update shows; None where that is not known.
        later_causes: what its further flagged updates showed.
        bundle: what lies beside this file to run the step again.
        traceback: of the user's exception that opened it, if one did.
        cures: the cures of the set-up that were tried in it.
        not_known: why the diagnosis of its first flagged update came to nothing, if it did.
    """

    id: PositiveInt
    opened_at_step: NonNegativeInt
    closed_at_step: NonNegativeInt | None
    signals: tuple[SignalName, ...]
    decisions: tuple[Decision, ...]
    outcome: Outcome
    cured_by: ActionName | None
    cost: IncidentCost
    cause: Cause | None = None
    later_causes: tuple[Cause, ...] = ()
    bundle: Bundle | None = None
    traceback: str | None = None
    cures: tuple[CureRow, ...] = ()
    not_known: str | None = None


class ProcessIncident(RecordModel):
    """One death or stall of a worker process.

    Attributes:
        time: when the worker was found to be gone.
        classification: why it is gone.
        exit_code: what it exited with, None where a signal ended it.
        signal: the signal that ended it, else None.
        reason: its traceback, where it left one.
        stacks: name of the file beside it with every thread's stack, None where there is none.
        rows: of the data set, of which one was being read when it, or a process of its loader, ended.
        life: which worker of the run it was, from 1: `life` of its events. None in records of before.
    """

    time: UtcTime
    classification: ExitClassification
    exit_code: int | None
    signal: str | None
    reason: str | None
    stacks: str | None
    life: PositiveInt | None = None
    rows: tuple[int | str, ...] = ()
