"""A model, its optimizer and its scheduler belong together, or nothing is begun."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import ChainedScheduler, LambdaLR, ReduceLROnPlateau, SequentialLR, StepLR

from supervisor import Guard
from supervisor.errors import InputError
from supervisor.guard.ownership import strangers
from supervisor.testing.tiny import TinyNet, TinyTrainer
from supervisor.training.optimizers import chained

MODEL = TinyNet()
OPTIMIZER = SGD(MODEL.parameters(), lr=0.1)
OTHER = SGD(TinyNet().parameters(), lr=0.1)


class Wrapped(torch.optim.Optimizer):
    """As a library wraps an optimizer: the groups are the very ones."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        self.inner, self.param_groups, self.state, self.defaults = inner, inner.param_groups, inner.state, {}


def found(optimizer: Any = OPTIMIZER, scheduler: Any = None, model: nn.Module = MODEL) -> list[str]:
    return list(strangers(model, chained(optimizer), scheduler))


@pytest.mark.parametrize(
    "optimizer",
    [
        OTHER,
        [OTHER, SGD([nn.Parameter(torch.ones(1))], lr=0.1)],
        SGD(copy.deepcopy(MODEL).parameters(), lr=0.1),
    ],
    ids=["another", "several", "a_copy"],
)
def test_an_optimizer_that_holds_none_of_the_models_parameters(optimizer: Any) -> None:
    (problem,) = found(optimizer)
    assert problem.startswith("optimizer: none of its ")
    assert "belongs to the model: build it from model.parameters() of this very model" in problem


def test_parameters_that_are_not_the_models_may_stand_beside_its_own() -> None:
    loss_scale = nn.Parameter(torch.ones(1))
    assert found(SGD([*MODEL.parameters(), loss_scale], lr=0.1)) == []
    assert found([OPTIMIZER, SGD([loss_scale], lr=0.1)]) == []
    assert found(SGD(MODEL.outer.parameters(), lr=0.1)) == []
    assert found(SGD([loss_scale], lr=0.1), model=nn.Identity()) == []
    assert found(SGD([{"params": []}], lr=0.1)) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda optimizer: StepLR(optimizer, 3),
        lambda optimizer: ReduceLROnPlateau(optimizer),
        lambda optimizer: SequentialLR(optimizer, [StepLR(optimizer, 3), StepLR(optimizer, 5)], [4]),
        lambda optimizer: ChainedScheduler([StepLR(optimizer, 3), StepLR(optimizer, 5)]),
    ],
    ids=["step", "plateau", "sequential", "chained"],
)
def test_a_scheduler_has_to_steer_the_optimizer(make: Any) -> None:
    assert found(scheduler=make(OPTIMIZER)) == []
    (problem,) = found(scheduler=make(OTHER))
    assert "steers another optimizer: build it with the optimizer that the guard is given" in problem


def test_of_several_the_one_at_fault_is_named_by_its_place() -> None:
    two = [OPTIMIZER, OTHER]
    assert found(two, [StepLR(OPTIMIZER, 3), StepLR(OTHER, 3)]) == []
    (problem,) = found(OPTIMIZER, [StepLR(OPTIMIZER, 3), LambdaLR(OTHER, lambda step: 1.0)])
    assert problem.startswith("scheduler: LambdaLR (1) steers another optimizer")


def test_what_wraps_an_optimizer_is_the_same_one() -> None:
    assert found(Wrapped(OPTIMIZER), StepLR(OPTIMIZER, 3)) == []
    assert found(OPTIMIZER, StepLR(Wrapped(OPTIMIZER), 3)) == []
    loaded = Adam(MODEL.parameters())
    scheduler = StepLR(loaded, 3)
    loaded.load_state_dict(loaded.state_dict())  # makes new groups
    assert found(loaded, scheduler) == []


def test_a_scheduler_of_ones_own_says_nothing() -> None:
    assert found(scheduler=type("Own", (), {"step": lambda self: None})()) == []


def test_a_guard_refuses_both_at_once_and_writes_nothing(tmp_path: Path) -> None:
    trainer = TinyTrainer()
    with pytest.raises(InputError) as caught:
        Guard(
            model=MODEL,
            optimizer=trainer.optimizer,
            loss=trainer.loss,
            scheduler=StepLR(OTHER, 3),
            run_dir=tmp_path / "run",
        )
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["optimizer", "scheduler"]
    assert list(tmp_path.iterdir()) == []
