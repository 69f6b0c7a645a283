"""The flagged step of an incident, run again from the files that a run left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from supervisor.errors import ExitCode
from supervisor.events.incident_file import BATCH_FILE
from supervisor.job import ResolvedJob
from supervisor.process.ending import StopRequest
from supervisor.process.heartbeat import Heartbeat
from supervisor.process.incident_rerun_entry import main
from supervisor.process.run_directory import RunDirectory
from supervisor.process.spec import WorkerSpec
from supervisor.process.worker import run_job
from supervisor.run_layout import INCIDENT_FILE, RunLayout

pytestmark = pytest.mark.usefixtures("process_as_before")

BAD_BATCH: dict[str, Any] = {"faults": [{"kind": "nan_batch", "at_batch": 6, "samples": 2}]}
BAD_ONCE: dict[str, Any] = {"config": {"fault": "nan", "at": 6}, "policy": {"ladder": [{"action": "halt"}]}}
"""The trainer's own counter makes the NaN, and a trainer that is built anew counts from 0."""


class NeverStops(StopRequest):
    """Leaves the signals of this process alone."""

    def __init__(self) -> None:
        return

    def goes_to(self, receiver: object) -> None:
        return


@pytest.fixture
def incident(resolve: Callable[..., ResolvedJob]) -> Callable[..., list[str]]:
    """Runs a job into its first incident; gives the arguments with which its step is run again."""

    def incident(**values: Any) -> list[str]:
        resolved = resolve(**values)
        directory = RunDirectory(resolved)
        directory.open_new()
        directory.prepare()
        spec = WorkerSpec.of(resolved, run_id="abc", resume=False)
        run_job(spec, NeverStops(), Heartbeat(spec.layout.heartbeat, create=True))
        return [str(directory.path), str(directory.layout.incident(1))]

    return incident


def test_a_bad_batch_is_bad_again(incident: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = incident(**BAD_BATCH)
    capsys.readouterr()
    assert main(arguments) == ExitCode.FINISHED
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "step 6 again, from the state before it: loss nan, gradient norm nan"
    assert "batch 0 of the update: not all values are finite in sample 0, 1" in lines
    assert any(line.startswith("gradients that are not finite: 0.weight, 0.bias") for line in lines)
    assert lines[-1].startswith("on record: bad_input: ")


def test_a_step_that_is_healthy_this_time_says_so(
    incident: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = incident(**BAD_ONCE)
    capsys.readouterr()
    assert main(arguments) == ExitCode.FINISHED
    lines = capsys.readouterr().out.splitlines()
    assert "nothing that is not finite was met this time" in lines
    assert any(line.startswith("largest gradients: ") for line in lines)


def test_for_machines_it_is_one_strict_json_object(
    incident: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = incident(**BAD_BATCH)
    capsys.readouterr()
    assert main([*arguments, "--json"]) == ExitCode.FINISHED
    found = json.loads(capsys.readouterr().out)
    assert (found["healthy"], found["loss"], found["bad_samples"]) == (False, "nan", [[0, 1]])


@pytest.mark.parametrize("damage", ["no_record", "no_batch", "torn_batch", "no_job"])
def test_files_that_cannot_be_used_are_bad_input(
    incident: Callable[..., list[str]], capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    run_dir, folder = map(Path, incident(**BAD_BATCH))
    match damage:
        case "no_record":
            (folder / INCIDENT_FILE).unlink()
        case "no_batch":
            (folder / BATCH_FILE).unlink()
        case "torn_batch":
            (folder / BATCH_FILE).write_bytes((folder / BATCH_FILE).read_bytes()[:100])
        case "no_job":
            RunLayout(run_dir).job.unlink()
    capsys.readouterr()
    assert main([str(run_dir), str(folder)]) == ExitCode.BAD_INPUT
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"{folder}: ")
