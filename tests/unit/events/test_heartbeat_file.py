"""What a worker says of itself, as anybody can read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.events.heartbeat_file import LINGER_SECONDS, Phase, Pulse, read_pulse, silence_allowed
from supervisor.process.heartbeat import Heartbeat
from supervisor.testing.clock import FakeClock


def test_what_the_worker_wrote_is_read_with_the_time_at_which_it_did(tmp_path: Path) -> None:
    path, clock = tmp_path / "rank0", FakeClock()
    heartbeat = Heartbeat(path, create=True, clock=clock)
    clock.advance(5)
    heartbeat.beat(7, 0.25)
    pulse = read_pulse(path)
    assert pulse == heartbeat.read() == Pulse(1, 7, 0.25, Phase.TRAINING)
    assert pulse is not None
    assert (pulse.monotonic, pulse.timestamp) == (5.0, clock.now().timestamp())


@pytest.mark.parametrize("content", [None, b"", b"\0" * 32, b"\xff" * 48])
def test_what_is_no_heartbeat_says_nothing(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "rank0"
    if content is not None:
        path.write_bytes(content)
    assert read_pulse(path) is None


def test_a_step_may_be_as_silent_as_it_is_slow_and_a_start_longer() -> None:
    def allowed(phase: Phase, slowest: float = 0.0) -> float:
        return silence_allowed(Pulse(1, 1, slowest, phase), stall_seconds=10.0, startup_seconds=100.0)

    assert (allowed(Phase.STARTING), allowed(Phase.FINISHING), allowed(Phase.TRAINING)) == (100.0, 100.0, 100.0)
    assert allowed(Phase.TRAINING, slowest=1.0) == 10.0
    assert allowed(Phase.ENDED, slowest=20.0) == LINGER_SECONDS
    assert allowed(Phase.TRAINING, slowest=20.0) == 50.0
