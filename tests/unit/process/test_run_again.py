"""A run is gone on with as its directory tells it, from wherever the user stands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.errors import InputError
from supervisor.job import ResolvedJob, load_job
from supervisor.process.run_again import job_of_run
from supervisor.process.run_directory import RunDirectory

Resolve = Callable[..., ResolvedJob]


@pytest.fixture
def started(resolve: Resolve, tmp_path: Path) -> ResolvedJob:
    """A job that was started with flags, from the folder that it lies in."""
    resolve(policy={"cooldown_steps": 4}, faults=[{"kind": "nan_batch", "at_batch": 3}])
    flags = ["config.width=4", "policy.probation_steps=9"]
    resolved = load_job("job.yaml", overrides=flags, steps=33)
    directory = RunDirectory(resolved)
    directory.open_new()
    directory.prepare()
    return resolved


def test_job_policy_and_flags_are_as_they_were(
    started: ResolvedJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = job_of_run("../run")
    assert again.run_dir.resolve() == started.run_dir
    assert again.job.run_dir == "../run"
    assert (again.policy, again.faults) == (started.policy, started.faults)
    same = {"policy", "run_dir"}
    assert again.job.model_dump(exclude=same) == started.job.model_dump(exclude=same)
    assert (again.job.steps, again.job.config, again.policy.probation_steps) == (33, {"width": 4}, 9)
    RunDirectory(again).open_again()


def test_what_may_differ_may_be_said_anew(started: ResolvedJob, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("probation_steps: 7\n")
    again = job_of_run("run", steps=50, policy="p.yaml", overrides=["policy.cooldown_steps=5"])
    assert (again.job.steps, again.policy.probation_steps, again.policy.cooldown_steps) == (50, 7, 5)


def test_a_directory_that_was_moved_is_the_same_run(started: ResolvedJob, tmp_path: Path) -> None:
    started.run_dir.rename(tmp_path / "moved")
    again = job_of_run("moved")
    assert again.run_dir == tmp_path / "moved"
    RunDirectory(again).open_again()


def test_without_a_run_there_is_nothing_to_go_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^run: there is no such run directory: start a run with supervisor run"):
        job_of_run("run")
    (tmp_path / "run").mkdir()
    with pytest.raises(InputError, match=r"^run: holds no run \(no job\.yaml\)"):
        job_of_run("run")
