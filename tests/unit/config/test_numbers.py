"""The shared numbers are strict, and bounded on both sides."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from supervisor.config.numbers import Count, FormatVersion, Seconds, Steps, Updates

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
