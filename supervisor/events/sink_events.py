"""Events of the sinks, which hand the log on to other tools; `schema` exports them."""

from __future__ import annotations

from typing import Literal

from supervisor.events.base import EventBase


class SinkReadyEvent(EventBase):
    """A sink serves at an address.

    Attributes:
        sink: its name, as in the job.
        address: where.
    """

    event: Literal["sink_ready"] = "sink_ready"
    sink: str
    address: str


class SinkFailedEvent(EventBase):
    """A sink raised, is slow, or could not be told everything. Said once; the training is not touched by it.

    Attributes:
        sink: its name, as in the job; `all` where the process that they run in has ended.
        error: what happened, and what becomes of the sink.
    """

    event: Literal["sink_failed"] = "sink_failed"
    sink: str
    error: str
