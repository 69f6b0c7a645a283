"""How long a worker may be silent; time is an argument."""

from __future__ import annotations

import pytest

from supervisor.policy import RestartSettings
from supervisor.process.heartbeat import Phase, Pulse
from supervisor.process.stall import StallWatch

SETTINGS = RestartSettings(stall_timeout_seconds=10.0, startup_timeout_seconds=100.0)


def pulse(beats: int, phase: Phase = Phase.TRAINING, slowest: float = 0.1) -> Pulse:
    return Pulse(beats, beats, slowest, phase)


def test_a_worker_that_goes_on_is_never_stalled() -> None:
    watch = StallWatch(SETTINGS, now=0.0)
    assert all(watch.silent_for(pulse(at), at * 9.9) is None for at in range(1, 100))


def test_silence_within_training() -> None:
    watch = StallWatch(SETTINGS, now=0.0)
    assert watch.silent_for(pulse(5), 50.0) is None
    assert watch.silent_for(pulse(5), 60.0) is None
    assert watch.silent_for(pulse(5), 60.1) == pytest.approx(10.1)
    assert watch.silent_for(pulse(6), 61.0) is None


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.FINISHING, Phase.ENDED])
def test_a_start_and_an_evaluation_may_take_longer(phase: Phase) -> None:
    watch = StallWatch(SETTINGS, now=0.0)
    assert watch.silent_for(pulse(0, phase), 99.0) is None
    assert watch.silent_for(pulse(0, phase), 101.0) == pytest.approx(101.0)


def test_never_less_than_the_stall_timeout() -> None:
    settings = RestartSettings(stall_timeout_seconds=10.0, startup_timeout_seconds=1.0)
    watch = StallWatch(settings, now=0.0)
    assert watch.silent_for(pulse(0, Phase.STARTING), 9.0) is None
    assert watch.silent_for(pulse(0, Phase.STARTING), 11.0) is not None


def test_slow_steps_stretch_it_and_fast_ones_never_shorten_it() -> None:
    watch = StallWatch(SETTINGS, now=0.0)
    assert watch.silent_for(pulse(1, slowest=8.0), 0.0) is None
    assert watch.silent_for(pulse(1, slowest=8.0), 20.0) is None
    assert watch.silent_for(pulse(1, slowest=8.0), 20.1) is not None
    assert watch.silent_for(pulse(2, slowest=0.001), 30.0) is None
    assert watch.silent_for(pulse(2, slowest=0.001), 40.0) is None
    assert watch.silent_for(pulse(2, slowest=0.001), 40.1) is not None


def test_the_first_step_has_the_stall_timeout_from_when_it_begins() -> None:
    watch = StallWatch(SETTINGS, now=0.0)
    assert watch.silent_for(pulse(1, slowest=0.0), 95.0) is None
    assert watch.silent_for(pulse(1, slowest=0.0), 104.0) is None
    assert watch.silent_for(pulse(1, slowest=0.0), 106.0) is not None
