"""The record of a worker that is gone."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from supervisor.events.durability_events import ExitClassification
from supervisor.events.process_incident_file import ProcessIncident

RECORD = ProcessIncident(
    time=datetime(2026, 1, 1, 12, tzinfo=UTC),
    classification=ExitClassification.STALLED,
    exit_code=None,
    signal="SIGTERM",
    reason=None,
    stacks="stacks.txt",
)


def test_a_record_is_json_that_reads_back():
    text = RECORD.model_dump_json()

    assert json.loads(text) == {
        "time": "2026-01-01T12:00:00.000000Z",
        "classification": "stalled",
        "exit_code": None,
        "signal": "SIGTERM",
        "reason": None,
        "stacks": "stacks.txt",
    }
    assert ProcessIncident.model_validate_json(text) == RECORD


def test_every_field_has_to_be_there():
    with pytest.raises(ValidationError, match="stacks"):
        ProcessIncident.model_validate(RECORD.model_dump(exclude={"stacks"}))
