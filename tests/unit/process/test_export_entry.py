"""A checkpoint's model written into a file of its own, from the run directory alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from support.saved import saved_run

from supervisor.checkpoints import CheckpointStore
from supervisor.errors import ExitCode
from supervisor.job import ResolvedJob
from supervisor.process.export_entry import main

Resolve = Callable[..., ResolvedJob]

pytestmark = pytest.mark.usefixtures("process_as_before")


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt"])
def test_the_best_one_is_written_and_loads(resolve: Resolve, capsys: pytest.CaptureFixture[str], name: str) -> None:
    run_dir = saved_run(resolve)
    capsys.readouterr()
    assert main([str(run_dir), name]) == ExitCode.FINISHED
    assert capsys.readouterr().out.startswith(f"{name}: 7 tensors, ")
    store = CheckpointStore(run_dir / "checkpoints", "")
    state = store.load(run_dir / "checkpoints" / "step-00000008")["moment"]["training"]
    if name.endswith(".pt"):
        found = torch.load(name, weights_only=True)
        about = found.about
    else:
        found = safetensors.torch.load_file(name)
        with safetensors.safe_open(name, "pt") as file:
            about = file.metadata()
    assert (about["step"], about["run_id"], about["trainer"]) == ("8", "abc", "saved:Saved")
    assert about["weights"] == "trained"
    assert torch.equal(found["into.weight"], state["parameters"]["into.weight"])
    assert torch.equal(found["out.weight"], found["into.weight"]), "tied weights come under both names"
    assert torch.equal(found["norm.running_mean"], state["buffers"]["norm.running_mean"])
    assert "scratch" not in found, "what is not persistent is in no state_dict"


def test_averaged_weights_are_written_where_the_trainer_has_them(
    resolve: Resolve, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = saved_run(resolve, trainer="saved:Averaged")
    capsys.readouterr()
    assert main([str(run_dir), "model.safetensors"]) == ExitCode.FINISHED
    assert ", averaged weights, of the checkpoint of step 8 (best: " in capsys.readouterr().out
    state = CheckpointStore(run_dir / "checkpoints", "").load(run_dir / "checkpoints" / "step-00000008")
    training = state["moment"]["training"]
    average = training["optimizer"]["state"]["into.weight"]["average"]
    found = safetensors.torch.load_file("model.safetensors")
    assert not torch.equal(average, training["parameters"]["into.weight"])
    assert torch.equal(found["into.weight"], average)
    assert torch.equal(found["out.weight"], average), "tied weights too"
    assert torch.equal(found["norm.running_mean"], training["buffers"]["norm.running_mean"])
    with safetensors.safe_open("model.safetensors", "pt") as file:
        assert file.metadata()["weights"] == "averaged"


def test_a_file_that_is_there_is_replaced_by_force_alone(resolve: Resolve, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir, file = saved_run(resolve), Path("model.pt")
    file.write_text("mine")
    capsys.readouterr()
    assert main([str(run_dir), "model.pt"]) == ExitCode.BAD_INPUT
    assert "-o model.pt: stands there already: add --force" in capsys.readouterr().err
    assert file.read_text() == "mine"
    assert main([str(run_dir), "model.pt", "--force", "--checkpoint", "last"]) == ExitCode.FINISHED
    assert torch.load(file, weights_only=True).about["step"] == "12"


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("/dev/null/model.pt", "-o /dev/null/model.pt: cannot be written ("),
        ("model.bin", "-o model.bin: what kind of file is that?"),
    ],
)
def test_a_place_that_cannot_be_written_is_bad_input(
    resolve: Resolve, capsys: pytest.CaptureFixture[str], output: str, said: str
) -> None:
    run_dir = saved_run(resolve)
    capsys.readouterr()
    assert main([str(run_dir), output]) == ExitCode.BAD_INPUT
    assert said in capsys.readouterr().err
