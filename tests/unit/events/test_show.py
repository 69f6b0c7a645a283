"""One event as one line for people."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from supervisor.events import schema
from supervisor.events.show import describe_event
from supervisor.records import ActionName

AT = datetime(2026, 1, 1, 12, 3, 41, 532_999, tzinfo=UTC)


def test_time_place_name_and_fields_in_columns():
    event = schema.DecisionEvent(
        time=AT,
        run_id="r",
        rank=0,
        step=120,
        update=124,
        incident=1,
        rung=0,
        action=ActionName.SKIP_BATCH,
        attempt=1,
        reason="the lowest rung",
        blocked={2: "no state"},
    )

    assert describe_event(event) == (
        "12:03:41.532  step 120 (update 124)     decision              "
        "incident=1 rung=0 action=skip_batch attempt=1 reason='the lowest rung' blocked={2='no state'} "
        "can_retry=False retry=False"
    )


def test_an_event_without_a_place_or_fields_is_short():
    assert describe_event(schema.OtherEvent(time=AT, event="node_drained")).split() == ["12:03:41.532", "node_drained"]


def test_what_is_not_known_is_left_out():
    gone = schema.WorkerExitedEvent(time=AT, pid=7, exit_code=9, signal=None, classification="exception")
    assert describe_event(gone).endswith("worker_exited         pid=7 exit_code=9 classification=exception")


def test_numbers_are_short_and_lists_are_one_word():
    event = schema.MetricsEvent(time=AT, metrics={"mrr": 0.123456789, "loss": math.nan}, seconds=math.inf)
    assert describe_event(event).endswith("metrics={mrr=0.123457 loss=nan} seconds=inf")
    exempt = schema.BufferExemptEvent(time=AT, buffers=("a", "b"))
    assert describe_event(exempt).endswith("buffers=a,b")
