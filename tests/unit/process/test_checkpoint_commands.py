"""What the commands about checkpoints hand on to their processes, and what they refuse before."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.errors import InputError
from supervisor.process import checkpoint_commands
from supervisor.process.checkpoint_commands import evaluate_checkpoint, export_checkpoint, refuse_output

Started = list[tuple[str, list[str]]]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    started: Started = []

    def run_helper(module: str, *arguments: str) -> int:
        started.append((module.rpartition(".")[2], [*arguments]))
        return 2

    monkeypatch.setattr(checkpoint_commands, "run_helper", run_helper)
    return started


def test_the_arguments_and_the_code_are_passed_on(tmp_path: Path, started: Started) -> None:
    (tmp_path / "job.yaml").touch()
    run, file = str(tmp_path), tmp_path / "model.pt"
    assert evaluate_checkpoint(tmp_path, None, as_json=False) == 2
    assert evaluate_checkpoint(tmp_path, "last", as_json=True) == 2
    assert export_checkpoint(tmp_path, None, file, force=False) == 2
    assert export_checkpoint(tmp_path, "best", file, force=True) == 2
    assert started == [
        ("evaluate_entry", [run]),
        ("evaluate_entry", [run, "--checkpoint", "last", "--json"]),
        ("export_entry", [run, str(file)]),
        ("export_entry", [run, str(file), "--checkpoint", "best", "--force"]),
    ]


def test_without_a_job_nothing_is_started(tmp_path: Path, started: Started) -> None:
    with pytest.raises(InputError, match="evaluate is for runs of"):
        evaluate_checkpoint(tmp_path, None, as_json=False)
    with pytest.raises(InputError, match="export is for runs of"):
        export_checkpoint(tmp_path, None, tmp_path / "model.pt", force=False)
    assert started == []


def test_only_what_may_be_written_is(tmp_path: Path, started: Started) -> None:
    (tmp_path / "there.pt").touch()
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(InputError, match=r"model\.onnx: what kind of file is that\? Write a name that ends in"):
        refuse_output(tmp_path / "model.onnx", force=True)
    with pytest.raises(InputError, match=r"folder\.pt: is a folder"):
        refuse_output(tmp_path / "folder.pt", force=True)
    with pytest.raises(InputError, match=r"there\.pt: stands there already: add --force"):
        export_checkpoint(tmp_path, None, tmp_path / "there.pt", force=False)
    refuse_output(tmp_path / "there.pt", force=True)
    refuse_output(tmp_path / "model.safetensors", force=False)
    assert started == []
