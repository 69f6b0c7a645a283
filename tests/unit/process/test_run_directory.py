"""The run directory as the parent holds, prepares, checks and clears it."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.whole_checkpoints import write_checkpoint

from supervisor.errors import ExitCode, InputError
from supervisor.events import EventLog, RunStatus, RunSummary
from supervisor.events.schema import (
    IncidentOpenedEvent,
    KnownEvent,
    RunFinishedEvent,
    RunHaltedEvent,
    RunStartedEvent,
    StepEvent,
    WarningEvent,
)
from supervisor.job import Job, ResolvedJob, load_job
from supervisor.policy import load_policy
from supervisor.process.run_directory import MAY_DIFFER, RunDirectory, run_lock
from supervisor.records import SignalName
from supervisor.testing.clock import FakeClock

Resolve = Callable[..., ResolvedJob]

POLICY = {"cooldown_steps": 3}


def finished(steps: int) -> RunFinishedEvent:
    summary = RunSummary(status=RunStatus.FINISHED, steps=steps, applied_steps=steps)
    return RunFinishedEvent(status=RunStatus.FINISHED, summary=summary)


def started(directory: RunDirectory, *events: KnownEvent) -> None:
    """A run was started in it, and told this."""
    directory.open_new()
    directory.prepare()
    with EventLog(directory.layout.rank_events, "earlier", 0, FakeClock()) as log:
        for event in (RunStartedEvent(steps=20), *events):
            log.emit(event)


def test_a_new_one_is_made_and_holds_the_job_and_the_policy_as_resolved(resolve: Resolve, tmp_path: Path) -> None:
    resolved = resolve(run_dir="deep/run", policy=POLICY)
    directory = RunDirectory(resolved)
    directory.open_new()
    directory.prepare()
    assert (directory.path, directory.shown) == (tmp_path / "deep" / "run", "deep/run")
    assert sorted(path.name for path in directory.path.iterdir()) == ["job.yaml", "place.json", "policy.yaml"]
    assert load_policy(str(directory.layout.policy)) == resolved.policy
    again = load_job(str(directory.layout.job))
    assert (again.job.config, again.job.seed, again.policy) == (resolved.job.config, 0, resolved.policy)


@pytest.mark.parametrize(
    ("run_dir", "why"),
    [
        ("full", r"full: holds something already \(x\): add --resume"),
        ("full/x", "is a file, or lies in one: choose"),
        ("full/x/below", "is a file, or lies in one: choose"),
        ("y" * 300, r"cannot be read \(File name too long\): choose"),
        ("/proc/nothing", r"cannot be made \(.*\): choose"),
    ],
    ids=["full", "a_file", "below_a_file", "long", "proc"],
)
def test_one_that_cannot_be_used_is_refused_and_left_as_it_is(
    resolve: Resolve, tmp_path: Path, run_dir: str, why: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("mine")
    with pytest.raises(InputError, match=why):
        RunDirectory(resolve(run_dir=run_dir)).open_new()
    assert [path.read_text() for path in (tmp_path / "full").iterdir()] == ["mine"]


def test_a_lock_alone_does_not_make_it_full(resolve: Resolve) -> None:
    directory = RunDirectory(resolve())
    directory.path.mkdir()
    directory.layout.lock.touch()
    directory.open_new()
    assert list(directory.path.iterdir()) == [directory.layout.lock]


def test_a_resume_needs_a_run(resolve: Resolve) -> None:
    directory = RunDirectory(resolve())
    with pytest.raises(InputError, match="run: there is no such run directory: start the run without --resume"):
        directory.open_again()
    directory.path.mkdir()
    with pytest.raises(InputError, match=r"run: holds no run \(no job\.yaml\): start one with supervisor run"):
        directory.open_again()


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"seed": 9}, r"seed \(0, now 9\)"),
        ({"config": {"width": 4}}, r"config\.width \(8, now 4\)"),
        ({"config": {"width": 8, "at": 1}}, r"config\.at \(not set, now 1\)"),
        ({"config": {}}, r"config\.width \(8, now not set\)"),
        ({"faults": [{"kind": "nan_batch", "at_batch": 3}]}, r"faults \(None, now .*\)"),
        ({"cpu_threads": 2}, r"cpu_threads \(1, now 2\)"),
    ],
    ids=["seed", "value", "added", "removed", "faults", "threads"],
)
def test_a_resume_of_another_job_names_the_difference(
    resolve: Resolve, changed: dict[str, object], difference: str
) -> None:
    started(RunDirectory(resolve(config={"width": 8})))
    with pytest.raises(InputError, match=f"was started with another {difference}: resume with the same"):
        RunDirectory(resolve(**{"config": {"width": 8}, **changed})).open_again()


def test_a_value_that_is_not_written_is_told_by_its_default(resolve: Resolve) -> None:
    trainer = "energy_flow.energy_trainer:EnergyTrainer"
    started(RunDirectory(resolve(trainer=trainer, config={"lattice_depth": 8})))
    told = r"was started with another config\.carrier_cell \(gru, the default, now lru\): resume with the same"
    with pytest.raises(InputError, match=told):
        RunDirectory(resolve(trainer=trainer, config={"lattice_depth": 8, "carrier_cell": "lru"})).open_again()


def test_steps_the_policy_and_logging_may_change_on_a_resume(resolve: Resolve) -> None:
    started(RunDirectory(resolve()))
    directory = RunDirectory(resolve(steps=40, policy=POLICY, log_every_steps=5))
    directory.open_again()
    # The policy's keys are named where it is put in force.
    assert directory.changes == ("steps (20, now 40)", "log_every_steps (20, now 5)")
    assert len(MAY_DIFFER & Job.model_fields.keys()) > len(directory.changes)


def test_a_finished_run_is_over_until_it_has_more_steps_to_do(resolve: Resolve) -> None:
    directory = RunDirectory(resolve())
    started(directory, finished(20))
    assert directory.already_over() is None, "its log says so, and there is no model"
    write_checkpoint(directory.layout.checkpoints, 20)
    over = RunDirectory(resolve()).already_over()
    assert over is not None
    assert over[0] is ExitCode.FINISHED
    assert over[1] == "run: has finished its 20 steps; it goes on with more of them (--steps)"
    assert RunDirectory(resolve(steps=21)).already_over() is None


def test_a_halted_run_is_over_under_the_same_policy(resolve: Resolve) -> None:
    started(RunDirectory(resolve()), RunHaltedEvent(reason="nothing is left"))
    over = RunDirectory(resolve()).already_over()
    assert over is not None
    assert over[0] is ExitCode.HALTED
    assert over[1] == (
        "run: was halted by this policy (nothing is left); once the cause is mended it goes on with --after-halt, "
        "or under another one (--policy)"
    )
    assert RunDirectory(resolve(policy=POLICY)).already_over() is None
    assert RunDirectory(resolve()).already_over(after_halt=True) is None


def test_a_halted_run_names_its_incident_and_keeps_to_one_line(resolve: Resolve) -> None:
    opened = IncidentOpenedEvent(step=7, update=7, incident=1, signals=(SignalName.NONFINITE_LOSS,))
    started(RunDirectory(resolve()), opened, RunHaltedEvent(step=7, update=7, reason="bad\n\x1b[31m" + "x" * 5000))
    over = RunDirectory(resolve()).already_over()
    assert over is not None
    assert "was halted by this policy in incident 1 (bad\\n\\x1b[31mxxx" in over[1]
    assert over[1].endswith("; supervisor explain run 1 tells more")
    assert len(over[1]) < 600
    assert over[1].isprintable()


def test_a_run_in_progress_is_not_over(resolve: Resolve) -> None:
    started(RunDirectory(resolve()))
    assert RunDirectory(resolve()).already_over() is None


def test_the_name_of_a_run_stays_the_one_in_its_log(resolve: Resolve) -> None:
    directory = RunDirectory(resolve())
    names = {directory.run_id(), directory.run_id()}
    assert len(names) == 2
    assert all(len(name) == 12 for name in names)
    with EventLog(directory.layout.parent_events, "earlier", None, FakeClock()) as log:
        log.emit(RunStartedEvent())
    assert directory.run_id() == "earlier"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_log_without_a_name_gives_a_new_one(resolve: Resolve, content: str) -> None:
    directory = RunDirectory(resolve())
    directory.layout.events.mkdir(parents=True)
    directory.layout.parent_events.write_text(content)
    assert len(directory.run_id()) == 12


def test_a_run_has_begun_with_its_first_checkpoint(resolve: Resolve) -> None:
    directory = RunDirectory(resolve())
    assert not directory.begun
    for name in ("step-00000010", ".replaced-step-00000010"):
        folder = directory.layout.checkpoints / name
        folder.mkdir(parents=True)
        assert directory.begun
        folder.rmdir()
    directory.layout.events.mkdir()
    directory.layout.rank_events.write_text('{"event":"run_started"}\n')
    assert not directory.begun
    # The checkpoint is gone, but the run had one: it is never begun anew.
    directory.layout.rank_events.write_text('{"event":"run_started"}\n{"event":"checkpoint_saved"}\n')
    assert directory.begun


def test_what_a_worker_wrote_before_its_first_checkpoint_is_forgotten(resolve: Resolve) -> None:
    directory = RunDirectory(resolve())
    started(directory)
    directory.forget_unstarted()
    assert not directory.layout.rank_events.exists()
    directory.forget_unstarted()


def fill(directory: RunDirectory) -> None:
    """What is in a run directory when the worker refuses the job."""
    layout = directory.layout
    for folder in (layout.events, layout.heartbeats, layout.checkpoints, layout.incidents):
        folder.mkdir()
    for file in (layout.lock, layout.restarts, layout.faults, layout.quarantine, layout.parent_events):
        file.touch()


def test_a_job_that_could_not_start_leaves_no_folder_that_it_made(resolve: Resolve, tmp_path: Path) -> None:
    directory = RunDirectory(resolve(run_dir="deep/er/run"))
    directory.open_new()
    directory.prepare()
    fill(directory)
    directory.leave_no_trace()
    assert not (tmp_path / "deep").exists()


def test_and_leaves_one_that_was_there_empty(resolve: Resolve, tmp_path: Path) -> None:
    directory = RunDirectory(resolve())
    directory.path.mkdir()
    directory.open_new()
    directory.prepare()
    fill(directory)
    directory.leave_no_trace()
    assert list((tmp_path / "run").iterdir()) == []


STEP = StepEvent(step=19, update=19, loss=1.0, grad_norm=1.0, lr=0.1, lr_scale=1.0, step_seconds=0.1)


@pytest.mark.parametrize("by", ["a step", "a checkpoint"])
def test_a_run_that_got_on_is_not_removed(resolve: Resolve, by: str) -> None:
    directory = RunDirectory(resolve())
    started(directory, *([STEP] if by == "a step" else []))
    if by == "a checkpoint":
        (directory.layout.checkpoints / "step-00000010").mkdir(parents=True)
    directory.leave_no_trace()
    assert directory.layout.rank_events.exists()
    assert directory.layout.job.exists()


def test_one_whose_program_was_at_fault_from_the_first_batch_on_is(resolve: Resolve) -> None:
    """So that the same command starts it once it is mended."""
    directory = RunDirectory(resolve())
    started(directory, WarningEvent(message="mine.py:7: ..."))
    (directory.layout.checkpoints / "step-00000000").mkdir(parents=True)
    directory.leave_no_trace()
    assert not directory.path.exists()


HOLDER = """
import sys
from pathlib import Path
from supervisor.process.run_directory import run_lock
with run_lock(Path(sys.argv[1]), "run"):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold_and_let_go(directory: Path) -> None:
    with run_lock(directory, "my run"):
        pass


def test_the_second_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    with run_lock(tmp_path, "my run"):
        with pytest.raises(InputError, match="my run: another supervisor is running it"):
            hold_and_let_go(tmp_path)
        with pytest.raises(InputError):
            hold_and_let_go(tmp_path)
    hold_and_let_go(tmp_path)


def test_it_is_let_go_of_when_what_it_was_held_for_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), run_lock(tmp_path, "my run"):
        raise RuntimeError
    hold_and_let_go(tmp_path)


def test_it_dies_with_its_owner(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError):
            hold_and_let_go(tmp_path)
        holder.kill()
        holder.wait()
        hold_and_let_go(tmp_path)


def test_a_process_that_was_started_meanwhile_does_not_hold_it(tmp_path: Path) -> None:
    """Else a worker that lives a moment longer than its killed parent would refuse the resume."""
    with run_lock(tmp_path, "run"):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    with child:
        hold_and_let_go(tmp_path)
        child.kill()


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        hold_and_let_go(tmp_path / "gone")


def test_a_file_system_without_locks_refuses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*arguments: object) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(fcntl, "flock", refuses)
    hold_and_let_go(tmp_path)


def test_a_run_is_resumed_with_other_sinks_and_nothing_is_said_of_it(resolve: Resolve) -> None:
    directory = RunDirectory(resolve(sinks={"csv": None, "webhook": {"url": "https://example.com/SECRET"}}))
    directory.open_new()
    directory.prepare()
    again = RunDirectory(resolve(sinks={"tensorboard": None, "webhook": {"url": "https://example.com/OTHER"}}))
    again.open_again()
    assert again.changes == ()
