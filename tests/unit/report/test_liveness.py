"""Whether a run is still there, by the owner of its lock and the heartbeat of its worker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from supervisor.events import schema
from supervisor.events.owner_file import Owner, claim
from supervisor.events.schema import ExitClassification
from supervisor.process.heartbeat import Heartbeat
from supervisor.report.liveness import as_it_lives, is_healthy
from supervisor.report.run_status import RunState, Status
from supervisor.report.status import read_status
from supervisor.run_layout import RunLayout
from supervisor.testing.clock import FakeClock

CLAIM = "import sys; from pathlib import Path; from supervisor.events.owner_file import claim; claim(Path(sys.argv[1]))"
RUNNING = Status(state=RunState.RUNNING)


def claimed_by_one_that_is_gone(layout: RunLayout) -> None:
    subprocess.run([sys.executable, "-c", CLAIM, str(layout.lock)], check=True)


def claimed_elsewhere(layout: RunLayout) -> None:
    away = Owner.this_process().model_copy(update={"host": "elsewhere", "boot": "another", "pid": 2**22})
    layout.lock.write_text(away.model_dump_json())


class TestAProcessThatIsGone:
    def test_it_is_dead_and_it_is_said_since_when_and_how_to_go_on(self, run: Any) -> None:
        layout = RunLayout(run.run_dir)
        run.step(1, 5)
        claimed_by_one_that_is_gone(layout)
        run.clock.advance(200)
        status = read_status(run.run_dir, run.clock)
        said = "ended without a word (last event 3 min 20 s ago); "
        assert (status.state, status.reason) == (RunState.DEAD, said + "there is no checkpoint to go on from")
        (layout.checkpoints / "step-00000010").mkdir(parents=True)
        assert read_status(run.run_dir, run.clock).reason == said + "go on with Guard(..., resume=True)"
        layout.job.touch()
        assert read_status(run.run_dir, run.clock).reason == said + f"go on with supervisor resume {run.run_dir}"
        run.at(300, run.finished())
        assert read_status(run.run_dir, run.clock).state is RunState.FINISHED

    def test_what_its_worker_died_of_is_said(self, run: Any) -> None:
        run.at(1, run.exited(ExitClassification.KILLED))
        claimed_by_one_that_is_gone(RunLayout(run.run_dir))
        status = run.status()
        assert status.state is RunState.DEAD
        assert status.reason.startswith("worker 5 is gone: killed (SIGKILL), and nobody starts it again; ")

    def test_one_that_never_began_is_dead_too(self, unstarted: Any) -> None:
        unstarted.at(0, schema.WorkerStartedEvent(pid=3))
        assert unstarted.status().state is RunState.UNKNOWN
        claimed_by_one_that_is_gone(RunLayout(unstarted.run_dir))
        assert unstarted.status().state is RunState.DEAD


class TestAProcessThatIsThere:
    def test_without_a_heartbeat_it_runs(self, tmp_path: Path) -> None:
        layout = RunLayout(tmp_path)
        claim(layout.lock)
        assert as_it_lives(RUNNING, layout) == RUNNING
        assert as_it_lives(Status(), layout).state is RunState.RUNNING

    def test_a_worker_that_is_silent_for_longer_than_the_policy_allows_has_stalled(self, tmp_path: Path) -> None:
        layout, clock = RunLayout(tmp_path), FakeClock()
        claim(layout.lock)
        layout.policy.write_text("restart: {stall_timeout_seconds: 20, startup_timeout_seconds: 50}\n")
        heartbeat = Heartbeat(layout.heartbeat, create=True, clock=clock)
        clock.advance(49)
        assert as_it_lives(RUNNING, layout, clock).state is RunState.RUNNING
        heartbeat.beat(1, 0.1)
        clock.advance(19)
        status = as_it_lives(RUNNING, layout, clock)
        assert (status.state, status.heartbeat_seconds) == (RunState.RUNNING, 19.0)
        clock.advance(2)
        status = as_it_lives(RUNNING, layout, clock)
        assert (status.state, status.reason) == (
            RunState.STALLED,
            "its worker has not given a sign of life for 21 s",
        )

    def test_one_that_waits_to_start_its_worker_again_has_not(self, tmp_path: Path) -> None:
        layout, clock = RunLayout(tmp_path), FakeClock()
        claim(layout.lock)
        Heartbeat(layout.heartbeat, create=True, clock=clock)
        clock.advance(10_000)
        waits = Status(state=RunState.RUNNING, reason="worker 5 is gone")
        assert as_it_lives(waits, layout, clock).state is RunState.RUNNING

    def test_of_one_on_another_machine_the_heartbeat_tells_by_the_time_of_day(self, tmp_path: Path) -> None:
        layout, clock = RunLayout(tmp_path), FakeClock()
        claimed_elsewhere(layout)
        assert as_it_lives(RUNNING, layout, clock) == RUNNING
        Heartbeat(layout.heartbeat, create=True, clock=clock)
        clock.advance(100)
        assert as_it_lives(RUNNING, layout, clock).heartbeat_seconds == 100.0
        clock.advance(1000)
        status = as_it_lives(RUNNING, layout, clock)
        assert status.state is RunState.STALLED
        assert "it runs on elsewhere" in (status.reason or "")


@pytest.mark.parametrize(
    ("state", "age", "max_age", "healthy"),
    [
        (RunState.FINISHED, None, 1.0, True),
        (RunState.RUNNING, 5.0, None, True),
        (RunState.RUNNING, 5.0, 6.0, True),
        (RunState.RUNNING, 5.0, 5.0, False),
        (RunState.RUNNING, None, 5.0, False),
        (RunState.STALLED, 5.0, 6.0, False),
        (RunState.DEAD, None, None, False),
        (RunState.HALTED, None, None, False),
        (RunState.INTERRUPTED, None, None, False),
        (RunState.UNKNOWN, None, None, False),
    ],
)
def test_what_is_healthy(
    tmp_path: Path, state: RunState, age: float | None, max_age: float | None, healthy: bool
) -> None:
    status = Status(state=state, heartbeat_seconds=age)
    assert is_healthy(status, RunLayout(tmp_path), max_age) is healthy


def test_without_a_heartbeat_the_log_is_the_sign_of_life(run: Any) -> None:
    layout = RunLayout(run.run_dir)
    assert is_healthy(RUNNING, layout, max_age=300.0)
    assert not is_healthy(RUNNING, layout, max_age=0.0)
