"""A job goes through all parts of a preflight, in this process."""

from __future__ import annotations

import io
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from supervisor.errors import ExitCode
from supervisor.preflight.entry import JobTrial, main
from supervisor.preflight.report import Preflight, RowFault
from supervisor.preflight.spec import PreflightSpec

Spec = Callable[..., PreflightSpec]


def test_a_healthy_job_is_found_healthy(spec: Spec) -> None:
    found = JobTrial(spec()).run()
    assert (found.problems, found.warnings) == ((), ())
    assert found.step is not None
    assert found.step.metrics == {"square": 0.5}
    assert found.step.run_seconds > 0
    assert found.checkpoint is not None
    assert found.checkpoint.identical
    assert found.storage is not None
    assert found.storage.free_bytes > found.storage.checkpoint_bytes > 0
    assert found.data is not None
    assert (found.data.read, found.data.complete, found.data.bad_rows, found.data.usual) == (320, True, (), ())


def test_bad_rows_are_found_and_the_updates_are_taken_without_them(spec: Spec) -> None:
    # So many that the first batches cannot be drawn with them.
    torn = [*range(0, 320, 10)]
    found = JobTrial(spec(config={"torn": torn, "nan": [7], "infinite": [33], "far": [55]})).run()
    assert found.problems == ()
    assert found.data is not None
    assert [row.index for row in found.data.of(RowFault.RAISES)] == torn
    assert [row.index for row in found.data.of(RowFault.NOT_FINITE)] == [7, 33]
    assert [row.index for row in found.data.of(RowFault.FAR_OUTSIDE)] == [55]
    assert found.step is not None


def test_rows_that_the_job_leaves_out_are_not_looked_at(spec: Spec, tmp_path: Path) -> None:
    (tmp_path / "list.jsonl").write_text('{"index": 7}\n')
    found = JobTrial(spec(config={"torn": [7]}, quarantine="list.jsonl")).run()
    assert (found.problems, found.warnings) == ((), ())
    assert found.data is not None
    assert (found.data.read, found.data.bad_rows) == (319, ())


def test_batches_of_a_list_are_looked_at_after_the_updates(spec: Spec) -> None:
    found = JobTrial(spec(config={"fault": "list", "nan": [7], "rows": 321})).run()
    assert found.problems == ()
    assert found.data is not None
    assert (found.data.unit, found.data.read, len(found.data.bad_rows)) == ("batches", 11, 1)
    assert "the smallest batch of an epoch has 1 row, the others 32" in found.warnings[0]


def test_a_last_batch_of_one_row_is_tried(spec: Spec) -> None:
    (warning,) = JobTrial(spec(rows=10, config={"rows": 321})).run().warnings
    assert warning.startswith(
        "the smallest batch of an epoch has 1 row, the others 32, and the loss raises on so few: "
    )
    assert "Expected more than 1 value per channel" in warning
    assert "BatchNorm (1) takes statistics over the batch" in warning
    assert JobTrial(spec(rows=10, config={"rows": 322})).run().warnings == ()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("build", r"the trainer cannot be built: RuntimeError: no such luck \(.*table\.py:\d+\)"),
        ("exit", r"the trainer ends its process: SystemExit: 0 \(.*table\.py:\d+\)"),
        ("raises", r"IndexError: index 7 is out of range.*table\.py:\d+"),
        ("tuple", r"loss\(batch\) must return a tensor with one element, not tuple.*table\.py:\d+"),
        ("length", r"the data cannot be read: OSError: the index is torn \(.*table\.py:\d+\)"),
    ],
)
def test_a_job_that_cannot_take_a_step_says_why_and_where(spec: Spec, fault: str, said: str) -> None:
    policy = {"experiments": None, "diagnose": {"enabled": False}}
    found = JobTrial(spec(config={"fault": fault}, policy=policy)).run()
    assert len(found.problems) == 1
    assert re.search(said, found.problems[0])
    assert found.step is None


def test_what_the_trainer_refuses_is_told_as_run_tells_it(spec: Spec) -> None:
    (problem,) = JobTrial(spec(config={"rows": "many"})).run().problems
    assert re.match(r"job\.yaml:\d+: config\.rows: ", problem)


def test_a_policy_that_does_not_fit_the_model_is_told_with_its_line(spec: Spec) -> None:
    policy = {"ladder": [{"action": "reinitialize", "modules": ["no_such_module"]}, {"action": "halt"}]}
    (problem,) = JobTrial(spec(policy=policy)).run().problems
    assert re.match(r"job\.yaml:\d+: policy\.ladder\.0\.modules", problem)


def test_an_evaluation_that_raises_is_a_warning(spec: Spec) -> None:
    found = JobTrial(spec(config={"fault": "evaluate"})).run()
    assert found.problems == ()
    assert found.warnings[0].startswith("evaluate raises KeyError: 'mrr' (")
    assert found.warnings[0].endswith("the run would end without metrics")


def test_a_disk_that_is_too_small_is_a_problem(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    free = SimpleNamespace(free=200_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    found = JobTrial(spec()).run()
    assert found.checkpoint is not None
    assert found.problems[0].startswith("runs/mine: the checkpoints need ")
    assert "and the disk has 200 kB left" in found.problems[0]


def test_a_run_directory_that_is_there_is_said_and_left_alone(spec: Spec, tmp_path: Path) -> None:
    told = spec()
    told.worker.run_dir.mkdir(parents=True)
    (told.worker.run_dir / "job.yaml").write_text("steps: 3")
    assert JobTrial(told).run().warnings == (
        "runs/mine holds a run already: `run` goes on with it under --resume only",
    )
    assert [path.name for path in told.worker.run_dir.iterdir()] == ["job.yaml"]


def test_faults_of_a_rehearsal_are_left_out(spec: Spec) -> None:
    found = JobTrial(spec(faults=[{"kind": "nan_batch", "at_batch": 0}])).run()
    assert found.warnings == ("the job names `faults`: they were left out here, and `run` injects them",)


@pytest.mark.parametrize(("fault", "code"), [("", ExitCode.FINISHED), ("build", ExitCode.BAD_INPUT)])
def test_the_report_is_in_the_folder(spec: Spec, monkeypatch: pytest.MonkeyPatch, fault: str, code: ExitCode) -> None:
    told = spec(config={"fault": fault})
    text = told.model_dump_json().encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text)))
    assert main() == code
    found = Preflight.model_validate_json(told.report.read_bytes())
    assert bool(found.problems) is (code != ExitCode.FINISHED)
