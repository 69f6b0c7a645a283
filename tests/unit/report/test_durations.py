"""Times as people say them."""

from __future__ import annotations

import math

import pytest

from supervisor.events.time_account import TimeAccount
from supervisor.report.durations import duration, told_account


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (math.nan, "nan s"),
        (math.inf, "inf s"),
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


def test_an_account_is_told_with_its_largest_part_first():
    account = TimeAccount(start_up=10, training=30, paused=7200)
    assert told_account(account) == "40 s: training 75.0% (30 s), start-up 25.0% (10 s); beside it paused for 2 h"
