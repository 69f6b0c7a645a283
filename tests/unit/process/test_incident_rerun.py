"""The process in which a flagged step is run again is started only where there is all that it needs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from supervisor.errors import InputError
from supervisor.events.incident_file import BATCH_FILE, STATE_FILE
from supervisor.process.incident_rerun import rerun_incident
from supervisor.process.shadowing import command
from supervisor.run_layout import RunLayout


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    """A run directory with a job and an incident that has all its files."""
    layout = RunLayout(tmp_path)
    layout.job.touch()
    layout.incident(1).mkdir(parents=True)
    for name in (BATCH_FILE, STATE_FILE):
        (layout.incident(1) / name).touch()
    return layout


@pytest.mark.parametrize("as_json", [False, True])
def test_the_code_is_that_of_the_process(layout: RunLayout, monkeypatch: pytest.MonkeyPatch, as_json: bool) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 2)

    monkeypatch.setattr(subprocess, "run", run)
    assert rerun_incident(layout.root, layout.incident(1), as_json=as_json) == 2
    started = command("supervisor.process.incident_rerun_entry")
    expected = [*started, str(layout.root), str(layout.incident(1))]
    assert commands == [[*expected, "--json"] if as_json else expected]


def test_without_a_job_there_is_no_trainer(layout: RunLayout) -> None:
    layout.job.unlink()
    with pytest.raises(InputError, match=r"has no job\.yaml, so its trainer cannot be built"):
        rerun_incident(layout.root, layout.incident(1), as_json=False)


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ([BATCH_FILE], r"without batch\.pt the step"),
        ([STATE_FILE], r"without state\.pt the step"),
        ([BATCH_FILE, STATE_FILE], r"without batch\.pt and state\.pt the step"),
    ],
)
def test_without_its_files_there_is_no_step(layout: RunLayout, gone: list[str], said: str) -> None:
    for name in gone:
        (layout.incident(1) / name).unlink()
    with pytest.raises(InputError, match=f"{said} cannot be run again: raise `max_bundle_mb` or `keep_bundles`"):
        rerun_incident(layout.root, layout.incident(1), as_json=False)
