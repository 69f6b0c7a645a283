"""`incidents/0001/incident.json`: one incident, for people and for machines."""

from __future__ import annotations

from pydantic import NonNegativeInt, PositiveInt

from supervisor.events.base import RecordModel
from supervisor.events.numbers import Number
from supervisor.records import ActionName, Decision, Outcome, SignalName

__all__ = ["IncidentCost", "IncidentFile"]


class IncidentCost(RecordModel):
    """What an incident cost: steps flagged or gone back over, and wall time in seconds."""

    steps_lost: NonNegativeInt
    seconds: Number


class IncidentFile(RecordModel):
    """The record of one incident; see `supervisor.records.Incident` for the fields.

    Attributes:
        cause: why it happened; None while nobody has looked.
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
    cause: None = None
    traceback: str | None = None
