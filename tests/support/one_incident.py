"""The record of an incident, for what shows one."""

from __future__ import annotations

from supervisor.events.incident_file import IncidentCost, IncidentFile
from supervisor.records import ActionName, Outcome, SignalName

__all__ = ["INCIDENT", "PLACE"]

PLACE = {"step": 3, "update": 3}
INCIDENT = IncidentFile(
    id=1,
    opened_at_step=3,
    closed_at_step=9,
    signals=(SignalName.NONFINITE_LOSS,),
    decisions=(),
    outcome=Outcome.RECOVERED,
    cured_by=ActionName.SKIP_BATCH,
    cost=IncidentCost(steps_lost=1, seconds=0.5),
)
