"""What every record and every line has in common."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from supervisor.events.base import EventBase, OtherEvent, RecordModel


class Note(RecordModel):
    text: str


def test_a_record_is_frozen_and_keeps_fields_that_it_does_not_know():
    note = Note.model_validate({"text": "a", "colour": "red"})

    with pytest.raises(ValidationError, match="frozen"):
        note.text = "b"
    assert note.model_dump() == {"text": "a", "colour": "red"}


def test_the_fields_of_every_line_have_their_names_and_order():
    event = EventBase(event="note", time=datetime(2026, 1, 1, tzinfo=UTC), run_id="r")

    assert list(event.model_dump(by_alias=True)) == ["schema", "time", "event", "run_id", "rank", "step", "update"]
    assert EventBase.model_validate({"schema": 1, "event": "note"}).schema_version == 1


@pytest.mark.parametrize("wrong", [{"schema": 2}, {"rank": -1}, {"step": -1}, {"update": -1}, {"time": "2026-01-01"}])
def test_a_line_of_another_form_is_refused(wrong: dict[str, object]):
    with pytest.raises(ValidationError):
        EventBase.model_validate({"event": "note", **wrong})


def test_an_event_of_an_unknown_name_is_kept_whole():
    event = OtherEvent.model_validate({"event": "node_drained", "host": "a"})

    assert (event.event, event.model_extra) == ("node_drained", {"host": "a"})
