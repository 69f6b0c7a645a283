"""A fault script is held against the trainer of its job, and nothing is left of that."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from supervisor.errors import ExitCode
from supervisor.job import ResolvedJob
from supervisor.process.faults_entry import main
from supervisor.process.spec import WorkerSpec

Resolve = Callable[..., ResolvedJob]

pytestmark = pytest.mark.usefixtures("process_as_before")


@pytest.fixture
def held(resolve: Resolve, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The exit code for a job with such a fault."""

    def held(fault: dict[str, Any], **values: Any) -> int:
        told = WorkerSpec.of(resolve(faults=[fault], **values), run_id="faults", resume=False).to_line()
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(told)))
        return main()

    return held


def test_faults_that_fit_are_passed_and_leave_nothing(held: Callable[..., int], tmp_path: Path) -> None:
    assert held({"kind": "nan_weight", "at_batch": 1}) == ExitCode.FINISHED
    assert held({"kind": "disk_full", "at_batch": 1, "batches": 3}) == ExitCode.FINISHED
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"kind": "nan_weight", "at_batch": 1, "parameter": "gru"}, "faults.0.parameter: 'gru' matches no parameter"),
        ({"kind": "forward_exception", "at_batch": 1, "module": "gru"}, "faults.0.module: 'gru' matches no module"),
        ({"kind": "nan_sample", "rows": [7]}, "the trainer's data have no data set with rows"),
    ],
)
def test_one_that_names_what_is_not_there_is_told_with_its_line(
    held: Callable[..., int], capsys: pytest.CaptureFixture[str], fault: dict[str, Any], said: str
) -> None:
    assert held(fault) == ExitCode.BAD_INPUT
    told = capsys.readouterr().err
    assert "job.yaml:" in told
    assert said in told


def test_a_trainer_that_cannot_be_built_is_left_to_the_run(held: Callable[..., int], tmp_path: Path) -> None:
    (tmp_path / "raises.py").write_text(
        "class Raises:\n    @classmethod\n    def from_config(cls, config, *, seed):\n        raise OSError('no')\n"
    )
    assert held({"kind": "nan_weight", "at_batch": 1}, trainer="raises:Raises") == ExitCode.FINISHED
