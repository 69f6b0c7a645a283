"""The machine's own clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from supervisor.clock import Clock, SystemClock


def test_it_tells_utc_and_never_goes_back() -> None:
    clock: Clock = SystemClock()
    before, since = clock.now(), clock.monotonic()
    assert clock.now().tzinfo is UTC
    assert timedelta(0) <= datetime.now(UTC) - before < timedelta(minutes=1)
    assert clock.monotonic() >= since


def test_it_sleeps_for_as_long_as_asked_and_never_for_less_than_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    monkeypatch.setattr("time.sleep", asked.append)
    clock = SystemClock()
    for seconds in (2.5, 0.0, -5.0):
        clock.sleep(seconds)
    assert asked == [2.5, 0.0, 0.0]
