"""What the lines of the log and the other records of a run share: numbers and times in strict JSON, common fields."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PlainSerializer,
)
from pydantic_core import PydanticSerializationError

from supervisor.display import writable

__all__ = ["DetailValue", "EventBase", "Number", "OtherEvent", "RecordModel", "UtcTime", "nonfinite_as_word"]

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


_UNSTAMPED = datetime.min.replace(tzinfo=UTC)


class RecordModel(BaseModel):
    """What the records of the log share: frozen, and open to fields that this version does not know."""

    # Extra fields are kept rather than dropped, so that a newer log passes through an older reader whole.
    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True, defer_build=True)

    def model_dump_json(self, *, indent: int | None = None, **options: Any) -> str:
        """As pydantic's; a text that UTF-8 cannot write, as the name of a file that is not UTF-8, has escapes in it."""
        try:
            return super().model_dump_json(indent=indent, **options)
        except PydanticSerializationError:
            plain = _all_writable(self.model_dump(mode="json", **options))
            separators = (",", ":") if indent is None else None
            return json.dumps(plain, indent=indent, separators=separators, ensure_ascii=False, allow_nan=False)


def _all_writable(value: Any) -> Any:
    match value:
        case str():
            return writable(value)
        case dict():
            return {_all_writable(key): _all_writable(each) for key, each in value.items()}
        case list():
            return [_all_writable(each) for each in value]
        case _:
            return value


def _is_none(value: object) -> bool:
    return value is None


class EventBase(RecordModel):
    """The fields of every line.

    Attributes:
        schema_version: 1; `schema` in JSON.
        time: when the line was written; stamped by the log.
        event: the event's name.
        run_id: the run; the same after a resume; stamped by the log.
        rank: the rank that wrote it, None in the parent's file; stamped by the log.
        step: schedule position from 0, None where there is none.
        update: attempted optimizer update from 0, None where there is none.
        life: which worker process of the run was the last to be started, from 1 (0: none yet); lines of several files
            are in order by it. None where no parent keeps count. Stamped by the log, as what follows.
        monotonic: seconds of the machine's monotonic clock, for durations: `time` may jump.
        boot: what those seconds count from, on the first line of each process.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    time: UtcTime = _UNSTAMPED
    event: str
    run_id: str = ""
    rank: NonNegativeInt | None = None
    step: NonNegativeInt | None = None
    update: NonNegativeInt | None = None
    life: NonNegativeInt | None = Field(default=None, exclude_if=_is_none)
    monotonic: float | None = Field(default=None, exclude_if=_is_none)
    boot: str | None = Field(default=None, exclude_if=_is_none)


class OtherEvent(EventBase):
    """An event of a name that this version does not know; all its own fields are extra fields."""
