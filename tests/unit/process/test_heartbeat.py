"""The worker's progress, as another process reads it, and how long it may be silent; time is an argument."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.events.heartbeat_file import LINGER_SECONDS
from supervisor.policy import RestartSettings
from supervisor.process.heartbeat import Heartbeat, Phase, Pulse, StallWatch


def test_new_is_all_zero(tmp_path: Path) -> None:
    assert Heartbeat(tmp_path / "deep" / "rank0", create=True).read() == Pulse(0, 0, 0.0, Phase.STARTING)


def test_each_beat_is_a_sign_of_life(tmp_path: Path) -> None:
    path = tmp_path / "rank0"
    reader = Heartbeat(path, create=True)
    writer = Heartbeat(path)
    writer.enter(Phase.TRAINING)
    assert reader.read() == Pulse(1, 0, 0.0, Phase.TRAINING)
    writer.beat(7, 0.25)
    assert reader.read() == Pulse(2, 7, 0.25, Phase.TRAINING)
    # The same step again, as after a reload, is one too.
    writer.beat(7, 0.25)
    assert reader.read().beats == 3
    writer.enter(Phase.FINISHING)
    assert reader.read() == Pulse(4, 7, 0.25, Phase.FINISHING)


def test_another_process_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "rank0"
    reader = Heartbeat(path, create=True)
    code = (
        "import os, sys; from pathlib import Path; from supervisor.process.heartbeat import Heartbeat;"
        "Heartbeat(Path(sys.argv[1])).beat(41, 1.5); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert reader.read() == Pulse(1, 41, 1.5, Phase.TRAINING)


def test_made_anew_for_the_next_worker(tmp_path: Path) -> None:
    path = tmp_path / "rank0"
    first = Heartbeat(path, create=True)
    first.beat(9, 1.0)
    first.enter(Phase.ENDED)
    first.close()
    assert Heartbeat(path, create=True).read() == Pulse(0, 0, 0.0, Phase.STARTING)


def test_there_has_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Heartbeat(tmp_path / "rank0")


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


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.FINISHING])
def test_a_start_and_an_evaluation_may_take_longer(phase: Phase) -> None:
    watch = StallWatch(SETTINGS, now=0.0)
    assert watch.silent_for(pulse(0, phase), 99.0) is None
    assert watch.silent_for(pulse(0, phase), 101.0) == pytest.approx(101.0)


def test_a_process_whose_run_has_ended_has_a_short_time_of_its_own() -> None:
    watch = StallWatch(SETTINGS, now=0.0)
    assert watch.silent_for(pulse(0, Phase.ENDED), LINGER_SECONDS) is None
    assert watch.silent_for(pulse(0, Phase.ENDED), LINGER_SECONDS + 1) == pytest.approx(LINGER_SECONDS + 1)


def test_the_first_code_that_is_said_counts(tmp_path: Path) -> None:
    path = tmp_path / "rank0"
    reader = Heartbeat(path, create=True)
    writer = Heartbeat(path)
    writer.end(75)
    writer.end(1)
    assert reader.read() == Pulse(1, 0, 0.0, Phase.ENDED, code=75)


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


def test_the_first_step_belongs_to_the_start() -> None:
    """A model may be compiled in it."""
    watch = StallWatch(SETTINGS, now=0.0)
    assert watch.silent_for(pulse(1, slowest=0.0), 95.0) is None
    assert watch.silent_for(pulse(1, slowest=0.0), 194.0) is None
    assert watch.silent_for(pulse(1, slowest=0.0), 196.0) is not None
    assert watch.silent_for(pulse(2, slowest=0.1), 200.0) is None
    assert watch.silent_for(pulse(2, slowest=0.1), 211.0) is not None


@pytest.mark.parametrize(
    ("seen", "key"),
    [
        (pulse(0, Phase.STARTING), "startup_timeout_seconds"),
        (pulse(1, slowest=0.0), "startup_timeout_seconds"),
        (pulse(2), "stall_timeout_seconds"),
        (pulse(9, Phase.FINISHING), "startup_timeout_seconds"),
    ],
    ids=["start", "first step", "step", "evaluation"],
)
def test_the_key_of_the_policy_that_allows_no_longer_is_known(seen: Pulse, key: str) -> None:
    assert StallWatch(SETTINGS, now=0.0).key(seen) == key
