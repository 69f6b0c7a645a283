"""A run for the commands to look at."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.one_incident import INCIDENT, PLACE

from supervisor.events import EventLog, RunStatus, RunSummary, schema
from supervisor.policy import RecoveryPolicy, resolved_yaml
from supervisor.records import ActionName, SignalName
from supervisor.run_layout import INCIDENT_FILE, RunLayout, replace_file
from supervisor.testing.clock import FakeClock


@pytest.fixture
def run_dir(tmp_path: Path) -> str:
    """A finished run with one incident."""
    layout = RunLayout(tmp_path / "run")
    with EventLog(layout.rank_events, "r", 0, FakeClock(tick_seconds=1)) as log:
        log.emit(schema.RunStartedEvent(steps=20, trainer="mine:Tiny"))
        log.emit(schema.SignalEvent(**PLACE, signal=SignalName.NONFINITE_LOSS))
        log.emit(schema.IncidentOpenedEvent(**PLACE, incident=1, signals=(SignalName.NONFINITE_LOSS,)))
        skip = {**PLACE, "incident": 1, "action": ActionName.SKIP_BATCH}
        log.emit(schema.DecisionEvent(**skip, rung=0, attempt=1, reason="the lowest rung"))
        log.emit(schema.ActionAppliedEvent(**skip, seconds=0.1))
        summary = RunSummary(status=RunStatus.FINISHED, steps=20, applied_steps=19)
        log.emit(schema.RunFinishedEvent(status=RunStatus.FINISHED, summary=summary))
    replace_file(layout.incident(1) / INCIDENT_FILE, INCIDENT.model_dump_json())
    replace_file(layout.policy, resolved_yaml(RecoveryPolicy()))
    return str(layout.root)
