"""`incidents/0001/incident.json`: one incident, for people and for machines."""

from __future__ import annotations

from pydantic import NonNegativeInt, PositiveInt

from supervisor.events.base import RecordModel
from supervisor.events.numbers import Number
from supervisor.records import ActionName, Bundle, Cause, Decision, Outcome, SignalName

__all__ = ["BATCH_FILE", "STATE_FILE", "IncidentCost", "IncidentFile"]

BATCH_FILE = "batch.pt"
STATE_FILE = "state.pt"


class IncidentCost(RecordModel):
    """What an incident cost: steps flagged or gone back over, and wall time in seconds."""

    steps_lost: NonNegativeInt
    seconds: Number


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
