"""What a run says of its end is so, whatever becomes of the disk, of its process and of the loader's processes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.command import supervise
from support.runs import alive, assert_same_end, checkpoints, exits, gate_at, named, running, steady_job, until

from supervisor.saved import newest_verified

STEPS = 200

EVALUATES = """
import os, signal, sys
from steady import Steady

class Evaluates(Steady):
    def evaluate(self):
        {what}
"""


@pytest.mark.parametrize("stopped", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["at_its_end", "stopped"])
def test_a_last_state_that_cannot_be_written_is_no_finished_run(tmp_path: Path, unbroken: Path, stopped: bool) -> None:
    """The file system refuses from step 185 on; `--resume` goes on from what is there, once it does not."""
    faults = {"limit": 185, **({"sigterm": 193} if stopped else {})}
    policy = {"checkpoint": {"every_steps": 10, "keep": 3, "last_save_seconds": 1.0}}
    steady_job(tmp_path, config={"faults": faults}, policy=policy, log_every_steps=1000)
    run = tmp_path / "run"
    done = supervise("run", "job.yaml", cwd=tmp_path)
    assert done.returncode == 5, (done.stdout, done.stderr)
    assert exits(run) == ["unsaved"]
    (finished,) = named(run, "run_finished")
    last = 194 if stopped else STEPS
    said = f"the state of step {last} could not be written: --resume goes on from checkpoints/step-00000180"
    assert finished.status == "unsaved"
    assert finished.summary.reason.startswith(said)
    assert said in " ".join(done.stdout.split())
    assert supervise("status", "run", cwd=tmp_path).stdout.count("unsaved") >= 1
    # What is only asked to be finished is not: the model is made.
    again = supervise("run", "job.yaml", "--resume", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert_same_end(run, unbroken / "run", STEPS)


@pytest.mark.slow
def test_a_disk_that_takes_it_in_the_end_has_saved_it(tmp_path: Path, unbroken: Path) -> None:
    """The limit is lifted by a thread while the last checkpoint is tried again."""
    trainer = """
import threading, time
from steady import Steady, lift_limit, saved

class Lifts(Steady):
    def loss(self, batch):
        if self.calls == 199:
            threading.Timer(1.5, lift_limit).start()
        return super().loss(batch)
"""
    steady_job(tmp_path, trainer="lifts:Lifts", config={"faults": {"limit": 185}})
    (tmp_path / "lifts.py").write_text(trainer)
    done = supervise("run", "job.yaml", cwd=tmp_path)
    assert done.returncode == 0, (done.stdout, done.stderr)
    newest = newest_verified(tmp_path / "run" / "checkpoints")
    assert newest is not None
    assert newest.step == STEPS
    assert_same_end(tmp_path / "run", unbroken / "run", STEPS)


@pytest.mark.slow
def test_where_folders_cannot_be_flushed_that_is_said_once_and_done_without(tmp_path: Path, unbroken: Path) -> None:
    steady_job(tmp_path, config={"faults": {"no_folder_sync": 15}})
    done = supervise("run", "job.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = [event.message for event in named(tmp_path / "run", "warning")]
    assert sum("cannot confirm the names of files" in each for each in said) == 1
    assert len(said) == 1, said
    assert len(checkpoints(tmp_path / "run")) > 3
    assert_same_end(tmp_path / "run", unbroken / "run", STEPS)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["crash_at_exit", "linger"])
def test_what_its_process_does_after_the_end_changes_nothing(tmp_path: Path, unbroken: Path, fault: str) -> None:
    steady_job(tmp_path, config={"faults": {fault: 30}})
    run = tmp_path / "run"
    done = supervise("run", "job.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert exits(run) == ["finished"]
    assert_same_end(run, unbroken / "run", STEPS)
    again = supervise("run", "job.yaml", "--resume", cwd=tmp_path)
    assert (again.returncode, "has finished its 200 steps" in again.stdout) == (0, True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "what",
    [
        "os._exit(0)",
        "os._exit(3)",
        "os.kill(os.getpid(), signal.SIGSEGV)",
    ],
)
def test_an_evaluation_that_ends_the_process_costs_the_metrics_alone(tmp_path: Path, unbroken: Path, what: str) -> None:
    steady_job(tmp_path, trainer="evaluates:Evaluates", policy={"restart": {"max_restarts": 0}})
    (tmp_path / "evaluates.py").write_text(EVALUATES.format(what=what))
    run = tmp_path / "run"
    done = supervise("run", "job.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert exits(run)[-1] == "finished"
    assert any("evaluate ended the worker" in event.message for event in named(run, "warning"))
    (finished,) = named(run, "run_finished")
    assert (finished.status, finished.summary.metrics) == ("finished", {})
    assert_same_end(run, unbroken / "run", STEPS)


@pytest.mark.slow
def test_a_loader_process_that_is_killed_is_a_restart_and_no_batch_is_blamed(tmp_path: Path) -> None:
    """Bit for bit as the same run to which nothing happens."""
    for name, faults in (("still", {}), ("struck", {"kill_loader": 57})):
        folder = tmp_path / name
        steady_job(folder, config={"loader_workers": 2, "faults": faults})
        done = supervise("run", "job.yaml", cwd=folder)
        assert done.returncode == 0, done.stderr
    run = tmp_path / "struck" / "run"
    assert exits(run) == ["exception", "finished"]
    assert named(run, "incident_opened", "decision", "quarantined") == []
    assert_same_end(run, tmp_path / "still" / "run", STEPS)


@pytest.mark.slow
@pytest.mark.parametrize("at", [57, 3, 130])
def test_a_stop_of_every_process_of_the_job_at_once_loses_nothing(tmp_path: Path, at: int) -> None:
    for name, faults in (("still", {}), ("struck", {"stop_everything": at})):
        folder = tmp_path / name
        steady_job(folder, config={"loader_workers": 2, "faults": faults})
        done = supervise("run", "job.yaml", cwd=folder)
        assert done.returncode == (75 if faults else 0), done.stderr
    struck = tmp_path / "struck"
    assert [path.name for path in checkpoints(struck / "run")][-1] == f"step-{at + 1:08d}"
    assert named(struck / "run", "incident_opened") == []
    assert supervise("run", "job.yaml", "--resume", cwd=struck).returncode == 0
    assert_same_end(struck / "run", tmp_path / "still" / "run", STEPS)


def test_a_child_in_a_session_of_its_own_does_not_outlive_the_run(tmp_path: Path) -> None:
    steady_job(tmp_path, steps=40, config={"faults": {"session_child": 10}})
    done = supervise("run", "job.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    pid = int((tmp_path / "helper.pid").read_text())
    assert not alive(pid)
    assert [event.message for event in named(tmp_path / "run", "warning")] == [
        f"left behind by the worker, and ended with it: sleep ({pid})"
    ]


@pytest.mark.slow
def test_nor_does_it_where_the_supervisor_itself_is_killed(tmp_path: Path) -> None:
    steady_job(tmp_path, config={"faults": {"session_child": 10}})
    gate_at(tmp_path, 20)
    with running("run", "job.yaml", cwd=tmp_path) as parent:
        told = tmp_path / "helper.pid"
        pid = int(until(lambda: told.exists() and told.read_text()))
        assert alive(pid)
        parent.kill()
    until(lambda: not alive(pid))


@pytest.mark.slow
def test_an_evaluation_that_ends_the_process_amid_the_training_leaves_it_to_finish(
    tmp_path: Path, unbroken: Path
) -> None:
    """With the best checkpoint asked for, too: there is no metric to choose it by any more."""
    keys = {"evaluate_every_steps": 120, "keep_best": {"metric": "score", "mode": "max"}}
    steady_job(tmp_path, trainer="evaluates:Evaluates", **keys)
    (tmp_path / "evaluates.py").write_text(EVALUATES.format(what="os._exit(7)"))
    done = supervise("run", "job.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert exits(tmp_path / "run") == ["exception", "finished"]
    assert_same_end(tmp_path / "run", unbroken / "run", STEPS)


STREAM = """
from steady import Steady

class Stream(Steady):
    def __init__(self, config, seed):
        super().__init__(config, seed)
        loader = self.data
        self.data = (batch for _ in range(4) for batch in loader)
"""


def test_data_that_end_too_early_do_not_take_what_was_trained_with_them(tmp_path: Path) -> None:
    policy = {"checkpoint": {"every_steps": 500, "keep": 3}, "snapshot": {"every_steps": 500, "keep": 1}}
    steady_job(tmp_path, trainer="stream:Stream", log_every_steps=500, policy=policy)
    (tmp_path / "stream.py").write_text(STREAM)
    run = tmp_path / "run"
    done = supervise("run", "job.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "the iterator ended after 80 batches and cannot begin again" in done.stderr
    newest = newest_verified(run / "checkpoints")
    assert newest is not None
    assert newest.step == 80
    assert "the iterator ended after" in supervise("status", "run", cwd=tmp_path).stdout


@pytest.mark.slow
def test_a_finished_run_whose_checkpoints_are_gone_is_none(tmp_path: Path) -> None:
    steady_job(tmp_path, steps=20)
    assert supervise("run", "job.yaml", cwd=tmp_path).returncode == 0
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    assert "no checkpoint of it is there" in supervise("status", "run", cwd=tmp_path).stdout
    assert supervise("run", "job.yaml", "--resume", cwd=tmp_path).returncode == 2
