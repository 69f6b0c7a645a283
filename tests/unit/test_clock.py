"""The clocks: the machine's, and the one that tests move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from supervisor.clock import Clock, SystemClock
from supervisor.testing.clock import FakeClock


def test_the_system_clock_tells_utc_and_does_not_sleep_for_less_than_nothing():
    clock: Clock = SystemClock()

    before = clock.monotonic()
    clock.sleep(-5)

    assert clock.now().tzinfo is UTC
    assert clock.monotonic() >= before


def test_the_fake_clock_moves_only_when_told():
    woken: list[float] = []
    start = datetime(2026, 1, 1, tzinfo=UTC)
    fake = FakeClock(start, on_sleep=woken.append)
    clock: Clock = fake

    assert (clock.now(), clock.now(), clock.monotonic()) == (start, start, 0.0)
    clock.sleep(30)
    fake.advance(1.5)

    assert clock.now() == start + timedelta(seconds=31.5)
    assert clock.monotonic() == 31.5
    assert fake.sleeps == woken == [30]


def test_the_fake_clock_can_tick_so_that_no_two_lines_share_a_time():
    clock = FakeClock(tick_seconds=2.0)

    assert clock.now() + timedelta(seconds=2) == clock.now()
