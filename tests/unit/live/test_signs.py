"""What a run shows of itself beside its log."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from supervisor.events.heartbeat_file import Phase, Pulse
from supervisor.events.owner_file import claim
from supervisor.live.signs import SignsReader, Speed
from supervisor.policy import RecoveryPolicy, RestartSettings, resolved_yaml
from supervisor.process.heartbeat import Heartbeat
from supervisor.report.run_status import RunState, Status

CLAIM = "import sys; from pathlib import Path; from supervisor.events.owner_file import claim; claim(Path(sys.argv[1]))"
RUNNING = Status(state=RunState.RUNNING)


def beats(count: int, phase: Phase = Phase.TRAINING) -> Pulse:
    return Pulse(count, count, 0.1, phase)


def test_the_speed_is_that_of_late() -> None:
    speed = Speed()
    assert speed.steps_a_second is None
    for look in range(100):
        speed.look(beats(look), float(look))
    assert speed.steps_a_second == pytest.approx(1.0)
    for look in range(300):
        speed.look(beats(100 + 5 * look), 100.0 + look)
    assert speed.steps_a_second == pytest.approx(5.0)


def test_another_worker_and_an_evaluation_begin_it_anew() -> None:
    speed = Speed()
    for look in range(10):
        speed.look(beats(50 + look), float(look))
    speed.look(beats(1), 11.0)
    assert speed.steps_a_second is None
    speed.look(beats(3), 12.0)
    assert speed.steps_a_second == 2.0
    speed.look(beats(4, Phase.FINISHING), 13.0)
    assert speed.steps_a_second is None
    speed.look(None, 14.0)
    assert speed.steps_a_second is None


def test_a_process_that_runs_it_and_its_worker(written: Any) -> None:
    written.begin()
    claim(written.layout.lock)
    heartbeat = Heartbeat(written.layout.heartbeat, create=True, clock=written.clock)
    heartbeat.beat(7, 0.5)
    signs = SignsReader(written.layout, written.clock).read(RUNNING, os.getpid(), ranks=16)
    assert (signs.state, signs.ranks) == (RunState.RUNNING, 16)
    assert signs.pulse is not None
    assert signs.pulse.step == 7
    assert signs.memory is not None
    assert signs.memory > 10_000_000


def test_one_whose_process_is_gone_is_dead_and_its_worker_is_not_looked_at(written: Any) -> None:
    """Its number may belong to another process by now."""
    written.begin()
    subprocess.run([sys.executable, "-c", CLAIM, str(written.layout.lock)], check=True)
    signs = SignsReader(written.layout, written.clock).read(RUNNING, os.getpid(), ranks=1)
    assert (signs.state, signs.memory) == (RunState.DEAD, None)
    assert "ended without a word" in str(signs.reason)


def test_the_policy_is_read_again_where_a_resume_has_brought_another(written: Any) -> None:
    reader = SignsReader(written.layout, written.clock)
    assert reader.read(RUNNING, None, 1).ladder == ()
    written.layout.policy.write_text("ladder: [{action: skip_batch}]\nversion: 1\n")
    assert reader.read(RUNNING, None, 1).ladder == ("skip_batch", "halt")
    written.layout.policy.write_text("ladder: what\n")
    assert reader.read(RUNNING, None, 1).ladder == ("skip_batch", "halt")


def test_how_long_it_may_be_silent_is_its_policys_to_say(written: Any) -> None:
    written.begin()
    claim(written.layout.lock)
    policy = RecoveryPolicy(restart=RestartSettings(stall_timeout_seconds=5.0))
    written.layout.policy.write_text(resolved_yaml(policy))
    heartbeat = Heartbeat(written.layout.heartbeat, create=True, clock=written.clock)
    heartbeat.beat(7, 0.5)
    reader = SignsReader(written.layout, written.clock)
    written.clock.advance(4)
    assert reader.read(RUNNING, None, 1).state is RunState.RUNNING
    written.clock.advance(2)
    signs = reader.read(RUNNING, None, 1)
    assert (signs.state, signs.reason) == (RunState.STALLED, "its worker has not given a sign of life for 6 s")
