"""Numbers and times that strict JSON cannot carry as they are."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import BaseModel, ValidationError

from supervisor.events.numbers import DetailValue, Number, UtcTime, nonfinite_as_word

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
