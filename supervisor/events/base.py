"""The fields that every line of the event log has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from supervisor.events.numbers import UtcTime

__all__ = ["EventBase", "OtherEvent", "RecordModel"]

_UNSTAMPED = datetime.min.replace(tzinfo=UTC)


class RecordModel(BaseModel):
    """What the records of the log share: frozen, and open to fields that this version does not know."""

    # Extra fields are kept rather than dropped, so that a newer log passes through an older reader whole.
    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True, defer_build=True)


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
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    time: UtcTime = _UNSTAMPED
    event: str
    run_id: str = ""
    rank: NonNegativeInt | None = None
    step: NonNegativeInt | None = None
    update: NonNegativeInt | None = None


class OtherEvent(EventBase):
    """An event of a name that this version does not know; all its own fields are extra fields."""
