"""How a run ends, in the exit code of the real command line, and what is on disk then."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command import PATIENCE_SECONDS, environment, read_lines, strict_json, supervise, write_job, write_trainer
from support.runs import running, until

from supervisor.events.base import OtherEvent
from supervisor.events.schema import parse_event


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the trainer `mine:Tiny` and a job for it; its name is one that shells dislike."""
    here = tmp_path / "mein Lauf – ü"
    here.mkdir()
    job = {"trainer": write_trainer(here), "steps": 60, "log_every_steps": 1, "run_dir": "out dir/läuft"}
    write_job(here, **job)
    return here


def run_dir(folder: Path) -> Path:
    return folder / "out dir" / "läuft"


def exited(folder: Path) -> dict[str, Any]:
    ends = [line for line in read_lines(run_dir(folder), "supervisor") if line["event"] == "worker_exited"]
    return ends[-1]


def test_0_finished(folder: Path) -> None:
    done = supervise("run", "job.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert exited(folder)["classification"] == "finished"
    assert exited(folder)["exit_code"] == 0
    assert read_lines(run_dir(folder))[-1]["event"] == "run_finished"
    assert (run_dir(folder) / "checkpoints" / "step-00000060" / "manifest.json").is_file()
    assert "60/60" in done.stdout
    again = supervise("run", "job.yaml", cwd=folder)
    assert again.returncode == 2
    assert "write another --run-dir" in again.stderr


def test_3_halted_and_its_views_for_machines(folder: Path) -> None:
    done = supervise("run", "job.yaml", "--set", "config.fault=nan", "--set", "config.at=30", cwd=folder)
    assert done.returncode == 3, done.stderr
    assert exited(folder)["classification"] == "halted"
    assert read_lines(run_dir(folder))[-1]["event"] == "run_halted"
    assert "Traceback" not in done.stderr
    where = str(run_dir(folder))
    events = supervise("events", where, "--json", cwd=folder)
    assert (events.returncode, events.stderr) == (0, "")
    lines = events.stdout.splitlines()
    names = [strict_json(line)["event"] for line in lines]
    assert not any(isinstance(parse_event(line), OtherEvent) for line in lines)
    assert names[0] == "worker_started"
    assert names[-2:] == ["run_halted", "worker_exited"]
    for name in ("rank0", "supervisor"):
        for line in (run_dir(folder) / "events" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
            strict_json(line)
            assert not isinstance(parse_event(line), OtherEvent)
    only = supervise("events", where, "--json", "--event", "decision", cwd=folder)
    assert [strict_json(line)["action"] for line in only.stdout.splitlines()][-1] == "halt"
    status = supervise("status", where, "--json", cwd=folder)
    assert (status.returncode, status.stderr) == (0, "")
    found = strict_json(status.stdout)
    assert found["state"] == "halted"
    assert found["incidents"] == 1
    assert supervise("status", where, cwd=folder).returncode == 0
    followed = supervise("events", where, "--follow", cwd=folder)
    assert followed.returncode == 0
    assert len(followed.stdout.splitlines()) == len(lines)


@pytest.mark.parametrize(
    ("fault", "code", "name", "classification"),
    [
        pytest.param("os_exit_0", 0, None, "exception", marks=pytest.mark.slow),
        pytest.param("sys_exit", 1, None, "exception", marks=pytest.mark.slow),
        ("kill", None, "SIGKILL", "killed"),
        pytest.param("crash_in_init", 1, None, "exception", marks=pytest.mark.slow),
    ],
)
def test_4_a_worker_that_dies(
    fault: str, code: int | None, name: str | None, classification: str, folder: Path
) -> None:
    """Also one that the training ends with the code of a finished run, long before its last step."""
    # Once more where it kills itself; elsewhere the first time is enough.
    restarts = f"{{max_restarts: {int(fault == 'kill')}, backoff_initial_seconds: 0}}"
    settings = ["--set", f"config.fault={fault}", "--set", f"policy.restart={restarts}"]
    done = supervise("run", "job.yaml", *settings, cwd=folder)
    assert done.returncode == 4, done.stderr
    assert "the worker died" in done.stderr
    last = exited(folder)
    assert (last["exit_code"], last["signal"], last["classification"]) == (code, name, classification)


@pytest.mark.parametrize("fault", ["sigterm", pytest.param("sigint", marks=pytest.mark.slow)])
def test_75_interrupted_after_its_step_and_a_checkpoint(fault: str, folder: Path) -> None:
    done = supervise("run", "job.yaml", "--set", f"config.fault={fault}", "--set", "config.at=25", cwd=folder)
    assert done.returncode == 75, done.stderr
    assert exited(folder)["classification"] == "interrupted"
    lines = read_lines(run_dir(folder))
    assert lines[-1]["event"] == "run_finished"
    assert lines[-1]["status"] == "interrupted"
    # The signal came inside step 25, which was finished.
    steps = [line["step"] for line in lines if line["event"] == "step"]
    assert steps == list(range(26))
    newest = run_dir(folder) / "checkpoints" / f"step-{len(steps):08d}"
    tree = torch.load(newest / "state.pt", weights_only=True)
    assert tree["moment"]["step"] == len(steps)
    assert "Traceback" not in done.stderr


def test_75_a_signal_while_the_worker_is_still_starting_is_not_lost(folder: Path) -> None:
    events = run_dir(folder) / "events" / "supervisor.jsonl"
    with running("run", "job.yaml", "--steps", "1000000", cwd=folder) as process:
        until(lambda: process.poll() is not None or (events.is_file() and b"worker_started" in events.read_bytes()))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 75, (out, err)
    assert exited(folder)["classification"] == "interrupted"
    assert list((run_dir(folder) / "checkpoints").glob("step-*/manifest.json"))
    assert "Traceback" not in err


@pytest.mark.parametrize("output", [pytest.param("| head -1", marks=pytest.mark.slow), "> /dev/full"])
def test_an_output_that_goes_nowhere_stops_nothing(output: str, folder: Path) -> None:
    supervisor = f'"{sys.executable}" -m supervisor'
    command = f'{supervisor} run job.yaml {output}; echo "${{PIPESTATUS[0]}}"'
    command += f'; {supervisor} events "out dir/läuft" | head -1; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    shown = done.stdout.splitlines()
    assert [shown[-3], shown[-1]] == ["0", "0"], (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert read_lines(run_dir(folder))[-1]["summary"]["steps"] == 60
