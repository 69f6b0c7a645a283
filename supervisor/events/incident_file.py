"""`incidents/0001/incident.json`: one incident, for people and for machines."""

from __future__ import annotations

from pydantic import NonNegativeInt, PositiveInt

from supervisor.events.base import RecordModel
from supervisor.events.numbers import Number
from supervisor.records import ActionName, Cause, Decision, Outcome, SignalName

__all__ = ["BATCH_FILE", "STATE_FILE", "Bundle", "IncidentCost", "IncidentFile"]

BATCH_FILE = "batch.pt"
STATE_FILE = "state.pt"


class IncidentCost(RecordModel):
    """What an incident cost: steps flagged or gone back over, and wall time in seconds."""

    steps_lost: NonNegativeInt
    seconds: Number


class Bundle(RecordModel):
    """What lies beside the record to run its first flagged step again.

    Attributes:
        batch: name of the file with the step's batches, None where there is none.
        state: name of the file with the state, likewise.
        update_applied: whether the state is the one after the step, which could not be discarded.
        note: what was left out, and why; None where nothing was.
    """

    batch: str | None
    state: str | None
    update_applied: bool = False
    note: str | None = None


class IncidentFile(RecordModel):
    """The record of one incident; see `supervisor.records.Incident` for the fields.

    Attributes:
        cause: why it happened, as its first flagged update shows; None where that is not known.
        later_causes: what its further flagged updates showed.
        bundle: what lies beside this file to run the step again.
        traceback: of the user's exception that opened it, if one did.
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
