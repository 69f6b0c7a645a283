"""The model of a checkpoint, in a trainer that is built anew."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.saved import saved_run

from supervisor.checkpoints import CheckpointStore
from supervisor.errors import InputError
from supervisor.events import read_events
from supervisor.job import ResolvedJob
from supervisor.process import saved_model
from supervisor.process.saved_model import load_saved_model

Resolve = Callable[..., ResolvedJob]

pytestmark = pytest.mark.usefixtures("process_as_before")


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file with its content and its time."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def test_it_is_the_model_of_the_checkpoint_and_evaluates_as_it_did(resolve: Resolve) -> None:
    run_dir = saved_run(resolve)
    before = files(run_dir)
    saved = load_saved_model(run_dir, None)
    assert (saved.manifest.step, saved.choice.which) == (8, "best: score 0.9")
    assert saved.told == "step 8 (best: score 0.9), step-00000008"
    state = CheckpointStore(run_dir / "checkpoints", "").load(saved.choice.path)["moment"]["training"]
    trainer: Any = saved.trainer
    for name, parameter in trainer.model.named_parameters():
        assert torch.equal(parameter, state["parameters"][name])
    for name, buffer in trainer.model.named_buffers():
        assert torch.equal(buffer, state["buffers"][name])
    assert trainer.model.scratch.tolist() == [8.0, 8.0]
    assert (trainer.steps, trainer.model.training) == (8, True)
    (recorded,) = [event for event in read_events(run_dir) if event.event == "metrics" and event.step == 8]
    metrics = trainer.evaluate()
    assert {**metrics, "nan": 0} == {**recorded.metrics, "nan": 0}, "what it draws too"
    assert files(run_dir) == before


def test_what_the_optimizer_holds_is_put_back_for_a_trainer_that_averages_its_weights(resolve: Resolve) -> None:
    saved = load_saved_model(saved_run(resolve, trainer="saved:Averaged"), None)
    state = CheckpointStore(saved.choice.path.parent, "").load(saved.choice.path)["moment"]["training"]
    trainer: Any = saved.trainer
    held = trainer.optimizer.state[trainer.model.into.weight]
    for key, value in state["optimizer"]["state"]["into.weight"].items():
        assert torch.equal(held[key], value), key
    assert torch.equal(trainer.averaged_weights()["into.weight"], held["average"])


def test_a_group_that_was_added_amid_the_run_does_not_stand_in_the_way(resolve: Resolve) -> None:
    run_dir = saved_run(resolve, trainer="saved:Averaged")
    module = Path("saved.py")
    whole = "self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.05)"
    part = whole.replace("self.model.parameters()", "[self.model.into.weight]")
    # As if the rest had been added later: built anew, the optimizer has a part of what it held.
    module.write_text(module.read_text(encoding="utf-8").replace(whole, part), encoding="utf-8")
    del sys.modules["saved"]
    trainer: Any = load_saved_model(run_dir, None).trainer
    assert "average" in trainer.optimizer.state[trainer.model.into.weight]


def test_a_damaged_one_is_told_with_what_is_wrong(resolve: Resolve) -> None:
    run_dir = saved_run(resolve)
    state = run_dir / "checkpoints" / "step-00000008" / "state.pt"
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(content)
    with pytest.raises(
        InputError, match=r"step-00000008: state\.pt is not what was written \(SHA-256 differs\): the ch"
    ):
        load_saved_model(run_dir, None)
    assert load_saved_model(run_dir, "last").manifest.step == 12


def test_one_that_retention_removes_meanwhile_is_chosen_anew(resolve: Resolve, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a run that goes on: the best one is abandoned, or another takes its place."""
    run_dir = saved_run(resolve)
    store = CheckpointStore(run_dir / "checkpoints", "")
    real = saved_model.choose

    def choose(*arguments: Any) -> Any:
        choice = real(*arguments)
        if choice.path.name == "step-00000008":
            store.retire(choice.path)
        return choice

    monkeypatch.setattr(saved_model, "choose", choose)
    assert load_saved_model(run_dir, None).manifest.step == 12


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ("nn.Linear(4, 4, bias=False)", "nn.Linear(4, 4)", r"it has no parameter into\.bias"),
        ("nn.BatchNorm1d(4)", "nn.Sequential()", r"it has a parameter norm\.weight that the model lacks"),
        ("nn.BatchNorm1d(4)", "nn.BatchNorm1d(1)", r"norm\.weight has shape \(4,\), not \(1,\)"),
        ("def load_state_dict", "def loads", None),
    ],
)
def test_one_of_another_model_is_told(resolve: Resolve, was: str, now: str, said: str | None) -> None:
    run_dir = saved_run(resolve)
    module = Path("saved.py")
    module.write_text(module.read_text(encoding="utf-8").replace(was, now), encoding="utf-8")
    del sys.modules["saved"]
    if said is None:
        # A trainer that has no state of its own any more is not asked to take one.
        assert load_saved_model(run_dir, None).manifest.step == 8
        return
    with pytest.raises(InputError, match=rf"step-00000008: is of another training: {said}"):
        load_saved_model(run_dir, None)
