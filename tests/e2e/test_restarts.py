"""What is restarted, what is not, and how often."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from support.command import PATIENCE_SECONDS, read_lines, supervise
from support.runs import alive, assert_same_end, exits, life, named, running, steady_job, until, worker_pids

STEPS = 200


def test_every_way_to_die_once_costs_a_restart_each(tmp_path: Path, unbroken: Path) -> None:
    faults = {"build": 0, "os_exit_0": 45, "sys_exit_0": 70, "segfault": 95}
    steady_job(tmp_path, config={"faults": faults})
    done = supervise("run", "job.yaml", cwd=tmp_path)
    run = tmp_path / "run"
    assert done.returncode == 0, done.stderr
    assert sorted(exits(run)) == sorted(["exception"] * 3 + ["killed", "finished"])
    ends = [(event.exit_code, event.signal) for event in named(run, "worker_exited")]
    assert {(0, None), (None, "SIGSEGV")} <= set(ends)
    reasons = [str(event.reason) for event in named(run, "worker_exited")]
    for reason in ("no trainer today", "SystemExit: 0"):
        assert sum(reason in each for each in reasons) == 1
    assert len(list((run / "incidents").glob("process-*"))) == 4
    assert_same_end(run, unbroken / "run", STEPS)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["os_exit_9", "segfault"])
def test_dying_at_one_step_every_time_ends_within_the_budget(tmp_path: Path, fault: str) -> None:
    policy = {"restart": {"max_restarts": 1, "backoff_initial_seconds": 0.0}}
    steady_job(tmp_path, config={"faults": {fault: 40}, "always": True}, policy=policy)
    done = supervise("run", "job.yaml", cwd=tmp_path)
    run = tmp_path / "run"
    assert done.returncode == 4, done.stderr
    assert len(exits(run)) == 2
    assert "1 restarts are allowed" in done.stderr
    assert {line["step"] for line in read_lines(run) if line["event"] == "run_resumed"} <= {30, 40}
    # The budget is not in the checkpoints: going on, or going on from an older one, gives nothing back.
    for _ in range(2):
        again = supervise("run", "job.yaml", "--resume", cwd=tmp_path)
        assert again.returncode == 4, again.stderr
    assert len(exits(run)) == 2
    assert "restart budget is spent" in again.stderr
    # Outside the window there is a budget again, and the mended trainer finishes.
    record = json.loads((run / "restarts.json").read_text())
    record["failures"] = [at - 700 for at in record["failures"]]
    (run / "restarts.json").write_text(json.dumps(record))
    Path(tmp_path / "steady.py").write_text(
        (tmp_path / "steady.py").read_text().replace("if self.config.always:", "if False:")
    )
    (tmp_path / f"happened-{fault}").touch()
    assert supervise("run", "job.yaml", "--resume", cwd=tmp_path).returncode == 0


def test_a_trainer_that_cannot_be_built_is_tried_once_more_and_told_with_its_line(tmp_path: Path) -> None:
    policy = {"restart": {"backoff_initial_seconds": 0.0}}
    steady_job(tmp_path, config={"faults": {"build": 0}, "always": True}, policy=policy)
    done = supervise("run", "job.yaml", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    lines = (tmp_path / "steady.py").read_text(encoding="utf-8").splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "no trainer today" in text)
    assert f"{tmp_path / 'steady.py'}:{line}: " in done.stderr.splitlines()[-1]
    assert done.stderr.count("Traceback") == 2
    # The same command starts the mended one.
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_process_that_ends_itself_before_the_first_step_is_started_twice_and_told(tmp_path: Path) -> None:
    policy = {"restart": {"max_restarts": 9, "backoff_initial_seconds": 0.0}}
    steady_job(tmp_path, config={"faults": {"os_exit_9": 0}, "always": True}, policy=policy)
    done = supervise("run", "job.yaml", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "the process ended itself with exit code 9, without an exception, before the first step" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_loss_that_raises_from_a_batch_on_halts(tmp_path: Path) -> None:
    steady_job(tmp_path, config={"faults": {"raise": 40}, "always": True})
    done = supervise("run", "job.yaml", cwd=tmp_path)
    run = tmp_path / "run"
    assert done.returncode == 3, done.stderr
    assert exits(run) == ["halted"]
    assert (done.stdout + done.stderr).count("Traceback (most recent call last)") <= 1
    *_, last = sorted((run / "incidents").iterdir())
    record = json.loads((last / "incident.json").read_text())
    assert record["outcome"] == "halted"
    assert record["traceback"].count("Traceback (most recent call last)") == 1
    assert "the user's own mistake" in record["traceback"]
    assert "steady.py" in record["traceback"]
    assert {str(event.action) for event in named(run, "decision")} == {
        "skip_batch",
        "lower_lr",
        "reload_checkpoint",
        "try_cures",
        "halt",
    }


@pytest.mark.slow
def test_a_loss_that_raises_once_costs_one_batch(tmp_path: Path) -> None:
    steady_job(tmp_path, config={"faults": {"raise": 40}})
    done = supervise("run", "job.yaml", cwd=tmp_path)
    run = tmp_path / "run"
    assert done.returncode == 0, done.stderr
    assert exits(run) == ["finished"]
    assert [str(event.action) for event in named(run, "decision")] == ["skip_batch"]
    assert named(run, "run_finished")[-1].summary.applied_steps == STEPS - 1


def test_nothing_of_a_run_outlives_its_parent(tmp_path: Path) -> None:
    """Neither the worker, hung in native code, nor its loader's processes, nor a helper it started."""
    config = {"loader_workers": 1, "faults": {"helper": 10, "native_locked": 30}}
    steady_job(tmp_path, config=config)
    run = tmp_path / "run"
    with running("run", "job.yaml", cwd=tmp_path) as parent:
        worker = life(run, 0, parent)
        until(lambda: (tmp_path / "happened-native_locked").exists())
        group = members(worker)
        assert len(group) >= 3
        parent.kill()
    until(lambda: not any(alive(pid) for pid in group))


def members(group: int) -> list[int]:
    """The processes of a process group."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(folder.name))
    return found


@pytest.mark.slow
def test_a_second_supervisor_is_refused(tmp_path: Path) -> None:
    steady_job(tmp_path, config={"faults": {"sleep": 29}})
    run = tmp_path / "run"
    with running("run", "job.yaml", cwd=tmp_path) as first:
        life(run, 0, first)
        until(lambda: (tmp_path / "happened-sleep").exists())
        until((run / "checkpoints" / "step-00000020").exists)
        before = contents(run)
        for flags in ([], ["--resume"]):
            second = supervise("run", "job.yaml", *flags, cwd=tmp_path)
            assert second.returncode == 2
            assert "Traceback" not in second.stderr
        assert "another supervisor" in second.stderr
        assert contents(run) == before
        worker = worker_pids(run)[-1]
        # The first request waits for a step that never ends, the second waits for nothing.
        first.send_signal(signal.SIGTERM)
        first.send_signal(signal.SIGINT)
        first.wait(timeout=PATIENCE_SECONDS / 2)
    assert first.returncode == 5, "its last state was not written"
    assert not alive(worker)
    # The lock has died with its owner.
    assert supervise("run", "job.yaml", "--resume", cwd=tmp_path).returncode == 0


def contents(folder: Path) -> dict[str, bytes]:
    """Every file, save the one that the worker beats into."""
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.parent.name != "heartbeat"}


def test_a_parent_killed_while_its_worker_starts_leaves_nothing(tmp_path: Path) -> None:
    steady_job(tmp_path)
    with running("run", "job.yaml", cwd=tmp_path) as parent:
        worker = life(tmp_path / "run", 0, parent)
        os.kill(parent.pid, signal.SIGKILL)
    until(lambda: not alive(worker))
