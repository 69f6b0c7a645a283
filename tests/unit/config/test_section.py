"""What every section refuses, how its numbers are bounded, and how a conflict between its keys travels."""

from __future__ import annotations

from typing import Any, Self

import pytest
from pydantic import TypeAdapter, ValidationError, model_validator

from supervisor.config.section import (
    Conflict,
    Count,
    FormatVersion,
    Seconds,
    Section,
    Steps,
    Updates,
    conflict,
    conflict_error,
)


class Pair(Section):
    low: int = 0
    """The lower one."""
    high: int = 1
    """The higher one."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low > self.high:
            raise conflict("low is above high", "swap them", "low", "high")
        return self


def test_it_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Pair().low = 5  # type: ignore[misc]


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Pair.model_validate({"lo": 1})


def test_the_docstring_of_a_field_is_its_description() -> None:
    assert Pair.model_json_schema()["properties"]["low"]["description"] == "The lower one."


def test_a_conflict_is_in_the_context_of_the_error() -> None:
    with pytest.raises(ValidationError) as caught:
        Pair(low=2)
    (detail,) = caught.value.errors()
    assert detail["type"] == "conflict"
    assert detail["ctx"]["conflicts"] == (Conflict("low is above high", "swap them", ("low", "high")),)
    assert detail["msg"] == "low is above high: swap them"


def test_several_conflicts_make_one_message() -> None:
    error = conflict_error(Conflict("a", "b"), Conflict("c", "d"))
    assert error.message() == "a: b; c: d"


LIMITS = {"Count": (Count, 1, 10_000), "Steps": (Steps, 1, 10**9), "Updates": (Updates, 1, 10**9)}


@pytest.mark.parametrize("name", LIMITS)
def test_whole_numbers_within_their_bounds(name: str) -> None:
    kind, low, high = LIMITS[name]
    adapter: TypeAdapter[int] = TypeAdapter(kind)
    assert [adapter.validate_python(each) for each in (low, high)] == [low, high]
    for wrong in (low - 1, high + 1, True, "5", 5.0, None):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


def test_seconds_may_be_fractions_and_no_more_than_a_year() -> None:
    adapter: TypeAdapter[float] = TypeAdapter(Seconds)
    assert [adapter.validate_python(each) for each in (0.25, 3, 365 * 86_400)] == [0.25, 3.0, 31_536_000.0]
    wrong: list[Any] = [0, -1.0, 31_536_001, True, "5", None, float("nan"), float("inf")]
    for each in wrong:
        with pytest.raises(ValidationError):
            adapter.validate_python(each)


def test_there_is_one_version_of_the_format() -> None:
    adapter: TypeAdapter[int] = TypeAdapter(FormatVersion)
    assert adapter.validate_python(1) == 1
    for wrong in (0, 2, True, "1", 1.0):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)
