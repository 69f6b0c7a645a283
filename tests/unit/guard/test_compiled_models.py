"""Compiled models: the names are those of the model itself, and a checkpoint serves with and without compilation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_same, everything, seed_all
from support.kinds import Layers, batches, plain_steps, spoilt, training_of
from support.training import EventList, Training, guard_of, quiet
from torch import Tensor, nn
from torch.optim import Adam

BATCHES = batches(8)
RELOAD = quiet(ladder=[{"action": "reload_checkpoint"}], snapshot={"every_steps": 3}, probation_steps=2)


class Recurrent(nn.Module):
    """A GRU between two layers, as something to draw afresh."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.outer = nn.GRU(6, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x_BF: Tensor, words_BL: Tensor) -> Tensor:
        logits: Tensor = self.outer(self.gru(x_BF[:, None])[0][:, 0])
        return logits


def compiled(backend: str, *, inner: bool = False, model: type[nn.Module] = Layers) -> Training:
    seed_all(0)
    made = model() if model is Recurrent else Layers(nn.BatchNorm1d(8))
    if inner:
        made.outer = torch.compile(made.outer, backend=backend)  # type: ignore[assignment]
        return training_of(made, Adam(made.parameters(), lr=0.01))
    whole = torch.compile(made, backend=backend)
    return training_of(whole, Adam(whole.parameters(), lr=0.01))  # type: ignore[arg-type]


@pytest.mark.parametrize("inner", [False, True], ids=["whole", "part"])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_healthy_discarded_and_put_back(backend: str, inner: bool) -> None:
    plain = compiled(backend, inner=inner)
    plain_steps(plain, BATCHES)
    expected = everything(plain)
    training = compiled(backend, inner=inner)
    assert guard_of(training, BATCHES).run(len(BATCHES)).incidents == 0
    assert_same(everything(training), expected)

    training = compiled(backend, inner=inner)
    guard, states = guard_of(training, policy=RELOAD), []
    for batch in BATCHES[:6]:
        states.append(everything(training))
        assert guard.step(batch).applied
    outcome = guard.step(spoilt(BATCHES[6]))
    assert outcome.action == "reload_checkpoint"
    names: Any = outcome.signals[1].details["tensors"]
    assert names[0] == "inner.weight"
    assert_same(everything(training), states[3])


@pytest.mark.parametrize("inner", [False, True], ids=["whole", "part"])
def test_a_checkpoint_serves_with_and_without_compilation(tmp_path: Path, inner: bool) -> None:
    training = compiled("eager", inner=inner)
    guard_of(training, BATCHES, run_dir=tmp_path / "run").run(4)
    seed_all(0)
    model = Layers(nn.BatchNorm1d(8))
    other = training_of(model, Adam(model.parameters(), lr=0.01))
    resumed = guard_of(other, BATCHES, run_dir=tmp_path / "run", resume=True)
    assert resumed.steps_done == 4
    for one, same in zip(training.model.state_dict().values(), model.state_dict().values(), strict=True):
        assert torch.equal(one, same)


@pytest.mark.parametrize("glob", ["gru", "GRU", "g*"])
def test_globs_are_those_of_the_model_itself(glob: str) -> None:
    training, heard = compiled("eager", model=Recurrent), EventList()
    ladder = [{"action": "reinitialize", "modules": [glob]}]
    guard = guard_of(training, policy=quiet(ladder=ladder), listeners=[heard])
    guard.step(BATCHES[0])
    assert guard.step(spoilt(BATCHES[1])).action == "reinitialize"
    assert heard.named("action_applied")[0].modules == ("gru",)
    assert guard.step(BATCHES[2]).applied


def test_a_compiled_gru_is_drawn_by_the_rule_for_grus() -> None:
    seed_all(0)
    model = Recurrent()
    model.gru = torch.compile(model.gru, backend="eager")  # type: ignore[assignment]
    training = training_of(model, Adam(model.parameters(), lr=0.01))
    guard = guard_of(training, policy=quiet(ladder=[{"action": "reinitialize", "modules": "auto"}]))
    guard.step(BATCHES[0])
    assert guard.step(spoilt(BATCHES[1])).action == "reinitialize"
    assert torch.equal(model.gru.bias_hh_l0[5:10], torch.ones(5))
