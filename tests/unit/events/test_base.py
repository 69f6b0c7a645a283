"""What every record and every line has in common."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import BaseModel, ValidationError

from supervisor.events.base import DetailValue, EventBase, Number, OtherEvent, RecordModel, UtcTime, nonfinite_as_word

WORDS = [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")]


class Values(BaseModel):
    number: Number = 0.0
    detail: DetailValue = 0
    time: UtcTime = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("value", "word"), WORDS)
def test_a_number_that_is_not_finite_is_a_word_in_json_and_a_float_again(value: float, word: str):
    assert nonfinite_as_word(value) == word
    text = Values(number=value, detail=value).model_dump_json()
    assert (json.loads(text)["number"], json.loads(text)["detail"]) == (word, word)

    back = Values.model_validate_json(text)
    assert repr((back.number, back.detail)) == repr((value, value))


@pytest.mark.parametrize("value", [0.0, -1.5, 3, True, "text", None, ("a",)])
def test_anything_else_stays_as_it_is(value: object):
    assert nonfinite_as_word(value) is value


def test_in_python_a_number_stays_a_number():
    assert Values(number=math.inf).model_dump()["number"] == math.inf


@pytest.mark.parametrize("value", [1, 1.5, True, "text", ("a", "b")])
def test_a_detail_keeps_its_type(value: object):
    back = Values.model_validate_json(Values.model_validate({"detail": value}).model_dump_json()).detail
    assert (type(back), back) == (type(value), value)


def test_a_word_that_is_no_number_is_refused():
    with pytest.raises(ValidationError):
        Values.model_validate({"number": "many"})


def test_a_time_is_written_in_utc_at_a_fixed_width():
    there = datetime(2026, 3, 1, 12, 30, tzinfo=timezone(timedelta(hours=2)))

    assert json.loads(Values(time=there).model_dump_json())["time"] == "2026-03-01T10:30:00.000000Z"
    with pytest.raises(ValidationError):
        Values(time=datetime(2026, 3, 1))


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
