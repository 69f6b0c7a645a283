"""`incident.json`: what is written reads back, by this version and by a later one."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from supervisor.events.incident_file import BATCH_FILE, STATE_FILE, Bundle, IncidentCost, IncidentFile, ProcessIncident
from supervisor.events.process_events import ExitClassification
from supervisor.records import ActionName, Cause, CauseKind, Decision, Outcome, SignalName

RECORD = IncidentFile(
    id=2,
    opened_at_step=12,
    closed_at_step=20,
    signals=(SignalName.NONFINITE_LOSS,),
    decisions=(Decision(2, 0, ActionName.SKIP_BATCH, 1, "the lowest rung"),),
    outcome=Outcome.RECOVERED,
    cured_by=ActionName.SKIP_BATCH,
    cost=IncidentCost(steps_lost=1, seconds=math.inf),
    cause=Cause(kind=CauseKind.BAD_INPUT, explanation="NaN", step=12, update=14, samples=(3,)),
    bundle=Bundle(batch=BATCH_FILE, state=STATE_FILE),
)


def test_a_record_is_strict_json_that_reads_back():
    text = RECORD.model_dump_json()

    assert json.loads(text)["cost"] == {"steps_lost": 1, "seconds": "inf"}
    assert IncidentFile.model_validate_json(text) == RECORD


def test_a_record_of_an_open_incident_and_without_what_came_later_reads_too():
    plain = json.loads(RECORD.model_dump_json(exclude={"cause", "later_causes", "bundle", "traceback"}))
    open_record = IncidentFile.model_validate({**plain, "closed_at_step": None, "cured_by": None, "outcome": "open"})

    assert (open_record.cause, open_record.bundle, open_record.traceback) == (None, None, None)


def test_fields_of_a_later_version_pass_through():
    plain = {**json.loads(RECORD.model_dump_json()), "blame": "data"}

    assert json.loads(IncidentFile.model_validate(plain).model_dump_json())["blame"] == "data"


PROCESS = ProcessIncident(
    time=datetime(2026, 1, 1, 12, tzinfo=UTC),
    classification=ExitClassification.STALLED,
    exit_code=None,
    signal="SIGTERM",
    reason=None,
    stacks="stacks.txt",
)


def test_a_record_is_json_that_reads_back():
    text = PROCESS.model_dump_json()

    assert json.loads(text) == {
        "time": "2026-01-01T12:00:00.000000Z",
        "classification": "stalled",
        "exit_code": None,
        "signal": "SIGTERM",
        "reason": None,
        "stacks": "stacks.txt",
        "life": None,
        "rows": [],
    }
    assert ProcessIncident.model_validate_json(text) == PROCESS


def test_every_field_has_to_be_there():
    with pytest.raises(ValidationError, match="stacks"):
        ProcessIncident.model_validate(PROCESS.model_dump(exclude={"stacks"}))
