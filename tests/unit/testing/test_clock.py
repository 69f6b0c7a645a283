"""The clock that tests move by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from supervisor.clock import Clock
from supervisor.testing.clock import FakeClock


def test_the_fake_clock_moves_only_when_told() -> None:
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


def test_the_fake_clock_can_tick_so_that_no_two_lines_share_a_time() -> None:
    clock = FakeClock(tick_seconds=2.0)

    assert clock.now() + timedelta(seconds=2) == clock.now()


def test_it_does_not_go_back_and_keeps_what_it_was_asked_for() -> None:
    clock = FakeClock()
    clock.sleep(-3)
    assert clock.monotonic() == 0.0
    assert clock.sleeps == [-3]
