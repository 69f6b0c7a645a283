"""`supervisor preflight`: what it hands on, prints and ends with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.command import write_job
from typer.testing import CliRunner

from supervisor.cli.app import app
from supervisor.cli.preflight_command import ROWS
from supervisor.errors import ExitCode, InputError
from supervisor.job import ResolvedJob
from supervisor.preflight import Preflight, launch

RUNNER = CliRunner()


class Asked:
    """Stands for the preflight itself."""

    def __init__(self) -> None:
        self.job: ResolvedJob | None = None
        self.rows: int | None = -1
        self.quarantine_out: str | None = None
        self.problems: tuple[str, ...] = ()

    def __call__(self, resolved: ResolvedJob, *, rows: int | None, quarantine_out: str | None) -> Preflight:
        self.job, self.rows, self.quarantine_out = resolved, rows, quarantine_out
        return Preflight(job=resolved.source, trainer="mine:Mine", steps=5, problems=self.problems)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    stand_in = Asked()
    monkeypatch.setattr(launch, "preflight", stand_in)
    return stand_in


@pytest.fixture
def job(tmp_path: Path) -> str:
    return str(write_job(tmp_path, trainer="mine:Mine", steps=20))


def invoke(*arguments: str) -> Any:
    return RUNNER.invoke(app, ["preflight", *arguments])


def test_it_looks_at_a_thousand_rows_unless_told_otherwise(asked: Asked, job: str) -> None:
    for flags, rows in (((), ROWS), (("--rows", "7"), 7), (("--rows", "all"), None)):
        assert invoke(job, *flags).exit_code == ExitCode.FINISHED
        assert asked.rows == rows


@pytest.mark.parametrize("rows", ["0", "-3", "some", "1.5", "²"])
def test_rows_are_a_number_or_all(asked: Asked, job: str, rows: str) -> None:
    result = invoke(job, f"--rows={rows}")
    assert isinstance(result.exception, InputError)
    assert "is no number of rows: write 1 or more, or `all`" in str(result.exception)
    assert asked.job is None


def test_flags_change_the_job_as_they_do_for_run(asked: Asked, job: str, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("cooldown_steps: 7\n")
    flags = ["--steps", "9", "--set", "seed=4", "--policy", str(tmp_path / "policy.yaml"), "--run-dir", "elsewhere"]
    invoke(job, *flags, "--quarantine-out", "list.jsonl")
    assert asked.job is not None
    assert (asked.job.job.steps, asked.job.job.seed, asked.job.policy.cooldown_steps) == (9, 4, 7)
    assert (asked.job.run_dir.name, asked.quarantine_out) == ("elsewhere", "list.jsonl")


def test_a_job_that_cannot_run_ends_with_two_and_says_why_on_stderr(asked: Asked, job: str) -> None:
    asked.problems = ("no step", "no disk")
    result = invoke(job)
    assert result.exit_code == ExitCode.BAD_INPUT
    assert result.stderr == "no step\nno disk\n"
    assert "the job can run" not in result.stdout


def test_for_machines_it_is_one_object(asked: Asked, job: str) -> None:
    assert invoke(job).stdout.endswith("the job can run\n")
    asked.problems = ("no step",)
    assert json.loads(invoke(job, "--json").stdout)["problems"] == ["no step"]


def test_the_help_says_what_is_tried_and_what_the_codes_mean() -> None:
    text = " ".join(invoke("--help").stdout.split())
    for said in (
        "read back and compared bit for bit",
        "quarantine",
        "Exit codes: 0 the job can run",
        "--rows",
        "[default: 1000]",
    ):
        assert said in text
