"""Numbers and times as strict JSON can carry them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, PlainSerializer

__all__ = ["DetailValue", "Number", "UtcTime", "nonfinite_as_word"]

_WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def nonfinite_as_word(value: object) -> object:
    """`"nan"`, `"inf"` or `"-inf"` for a non-finite float, anything else unchanged."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value


def _word_as_nonfinite(value: object) -> object:
    return _WORDS.get(value, value) if isinstance(value, str) else value


def _utc_text(time: datetime) -> str:
    # A fixed width keeps the lines sortable as text; pydantic's own form drops a fraction of zero.
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


Number = Annotated[
    float,
    BeforeValidator(_word_as_nonfinite),
    PlainSerializer(nonfinite_as_word, return_type=float | str, when_used="json"),
]
"""A float; non-finite ones are the strings `"nan"`, `"inf"` and `"-inf"` in JSON, floats in Python."""

DetailValue = Annotated[
    float | int | str | bool | tuple[str, ...],
    BeforeValidator(_word_as_nonfinite),
    PlainSerializer(nonfinite_as_word, when_used="json"),
]
"""A detector's detail. A text that reads `nan`, `inf` or `-inf` comes back as the number."""

UtcTime = Annotated[
    AwareDatetime,
    AfterValidator(lambda time: time.astimezone(UTC)),
    PlainSerializer(_utc_text, return_type=str, when_used="json"),
]
"""An aware time in UTC; RFC 3339 with microseconds and `Z` in JSON."""
