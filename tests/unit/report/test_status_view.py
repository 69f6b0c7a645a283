"""A status as people see it."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from supervisor.events import schema
from supervisor.report.status import Status
from supervisor.report.status_view import duration, render_status

START = datetime(2026, 1, 1, tzinfo=UTC)


def show(status: Status, now: datetime | None = None) -> str:
    out = io.StringIO()
    Console(file=out, width=120).print(render_status(status, now))
    return out.getvalue()


def test_the_view_says_what_is_known(run):
    run.step(10, 19, loss=0.75)
    run.flag(11, 20, 20, opens=True)
    run.at(12, schema.MetricsEvent(metrics={"mrr": 0.05}))

    shown = " ".join(show(run.status(), START + timedelta(seconds=212)).split())

    for expected in (
        "run run-1",
        "state running",
        "step 21 of 100",
        "updates 21 attempted: 20 applied, 1 flagged and discarded",
        "loss 0.75",
        "learning rate 0.01 x 1",
        "incidents 1 (nonfinite_loss 1)",
        "rung 0 (incident 1 is open)",
        "metrics mrr 0.05",
        "last event 2026-01-01 00:00:12 UTC (3 min 20 s ago)",
    ):
        assert expected in shown


def test_the_view_of_nothing_is_short(unstarted):
    assert show(unstarted.status()).split() == ["state", "unknown", "incidents", "0"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0.25, "0.25 s"),
        (48, "48 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_durations_read_as_a_person_says_them(seconds: float, text: str):
    assert duration(seconds) == text
