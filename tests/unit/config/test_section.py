"""What every section refuses, and how a conflict between its keys travels."""

from __future__ import annotations

from typing import Self

import pytest
from pydantic import ValidationError, model_validator

from supervisor.config.section import Conflict, Section, conflict_error


class Pair(Section):
    low: int = 0
    """The lower one."""
    high: int = 1
    """The higher one."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low > self.high:
            raise conflict_error(Conflict("low is above high", "swap them", ("low", "high")))
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
