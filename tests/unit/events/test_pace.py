"""How fast a run goes, and how long it still takes."""

from __future__ import annotations

import pytest

from supervisor.events.pace import Pace, resident_bytes, said_bytes, time_left
from supervisor.testing.clock import FakeClock


def test_the_speed_is_that_of_late() -> None:
    clock = FakeClock()
    pace = Pace(clock)
    assert pace.steps_a_second is None
    for _ in range(10):
        clock.advance(10.0)
        pace.step()
    assert pace.steps_a_second == pytest.approx(0.1)
    for _ in range(4000):
        clock.advance(0.05)
        pace.step()
    assert pace.steps_a_second == pytest.approx(20.0, rel=0.02)


@pytest.mark.parametrize(
    ("steps", "speed", "said"),
    [
        (100, 2.0, "50 s left"),
        (1440, 2.0, "12 min left"),
        (24_000, 2.0, "3 h 20 min left"),
        (1_000_000, 2.0, "5 d 18 h left"),
        (0, 2.0, None),
        (5, None, None),
    ],
)
def test_the_time_left_is_said_as_a_person_would(steps: int, speed: float | None, said: str | None) -> None:
    assert time_left(steps, speed) == said


def test_the_memory_is_that_of_this_process() -> None:
    before = resident_bytes()
    held = bytearray(64_000_000)
    held[::4096] = b"x" * len(held[::4096])
    after = resident_bytes()
    assert before is not None
    assert after is not None
    assert 50e6 < after - before < 200e6
    assert (said_bytes(812_300_000), said_bytes(3_210_000_000)) == ("812 MB", "3.21 GB")
