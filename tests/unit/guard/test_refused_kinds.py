"""What cannot be supervised is refused before the first step, with the mend."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.kinds import Layers, Words, batches, training_of
from support.training import guard_of, quiet
from torch import Tensor, nn
from torch.optim import SGD, Adam

from supervisor import Guard, InputError

BATCHES = batches(3)


class TwoPass(SGD):
    """Needs its closure, as sharpness-aware optimizers do."""

    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]
        return closure()


class Flexible(SGD):
    """Takes whatever it is handed and needs none of it."""

    def step(self, *args: Any, **options: Any) -> Any:
        return super().step()


def refusal(model: nn.Module, optimizer: Any, **options: Any) -> str:
    with pytest.raises(InputError) as error:
        guard_of(training_of(model, optimizer), BATCHES, **options)
    return str(error.value)


@pytest.mark.parametrize("kind", [torch.optim.LBFGS, TwoPass])
@pytest.mark.parametrize("scheduled", [False, True])
def test_an_optimizer_that_needs_a_closure(kind: Any, scheduled: bool) -> None:
    model = Layers()
    optimizer = kind(model.parameters(), lr=0.1)
    if scheduled:
        torch.optim.lr_scheduler.StepLR(optimizer, 3)
    expected = f"optimizer: {kind.__name__} steps through a closure, which cannot be inspected: use one whose step()"
    assert expected in refusal(model, optimizer)


def test_one_among_several() -> None:
    model = Layers()
    several = [Adam(model.inner.parameters()), TwoPass(model.outer.parameters(), lr=0.1)]
    assert "TwoPass steps through a closure" in refusal(model, several)


def test_an_optimizer_that_can_do_without_arguments_is_not_refused() -> None:
    model = Layers()
    assert guard_of(training_of(model, Flexible(model.parameters(), lr=0.1)), BATCHES).run(3).applied_steps == 3


def test_a_group_without_a_rate() -> None:
    model = Layers()
    optimizer = SGD(model.parameters(), lr=0.1)
    optimizer.param_groups[0]["lr"] = None
    assert "optimizer: SGD: param_groups.0 has no `lr`: give it a learning rate" in refusal(model, optimizer)


def test_modules_that_have_no_shape_yet() -> None:
    model = Layers(nn.LazyBatchNorm1d())
    optimizer = SGD(model.outer.parameters(), lr=0.1)
    told = refusal(model, optimizer)
    assert "model: between.weight, between.bias, between.running_mean not initialised" in told
    assert "run one batch through the model first" in told
    model(*BATCHES[0][:2])
    training = training_of(model, SGD(model.parameters(), lr=0.1))
    assert guard_of(training, BATCHES).run(3).applied_steps == 3


def test_sparse_gradients_and_clipping() -> None:
    model = Words()
    told = refusal(model, SGD(model.parameters(), lr=0.1), policy=quiet(gradient_clip={"max_norm": 1.0}))
    assert "model: embedding has sparse gradients, which torch cannot clip" in told
    assert "write `gradient_clip: null`, or build it with sparse=False" in told
    dense = Words(sparse=False)
    training = training_of(dense, SGD(dense.parameters(), lr=0.1))
    assert guard_of(training, BATCHES, policy=quiet(gradient_clip={"max_norm": 1.0})).run(3).applied_steps == 3


@pytest.mark.parametrize(("optimizer", "mend"), [([], "an empty list"), ("adam", "a str is no torch.optim.Optimizer")])
def test_what_is_no_optimizer(optimizer: Any, mend: str) -> None:
    assert mend in refusal(Layers(), optimizer)


def test_a_parameter_in_two_optimizers() -> None:
    model = Layers()
    told = refusal(model, [SGD(model.parameters(), lr=0.1), Adam([model.outer.bias])])
    assert "optimizer: 0 and 1 hold the same parameter of shape (3,): give each parameter to one of them" in told


def test_everything_is_told_at_once() -> None:
    model = Words()
    optimizer = TwoPass(model.parameters(), lr=0.1)
    with pytest.raises(InputError) as error:
        Guard(
            model=model, optimizer=optimizer, loss=lambda _: torch.zeros(()), policy={"gradient_clip": {"max_norm": 1}}
        )
    assert len(error.value.problems) == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"model": lambda batch: batch}, "model: a function: give a torch.nn.Module"),
        ({"loss": None}, "loss: None: give a function of a batch"),
        ({"data": 5}, "data: an int: give an iterable of batches"),
        ({"scaler": "fp16"}, "scaler: a str: give a torch.amp.GradScaler"),
        ({"extra_state": [1]}, "extra_state: a list: give a mapping of names to objects"),
        ({"extra_state": {"best": 3}}, "extra_state: best: an int: give an object with state_dict and load_state_dict"),
        ({"extra_state": {"own": torch.Generator()}}, "that call its get_state and set_state"),
        ({"scheduler_interval": "batch"}, "scheduler_interval: 'batch': write"),
        ({"accumulate": 0}, "accumulate: 0: write a whole number, 1 or more"),
        ({"accumulate": 1.5}, "accumulate: 1.5: write a whole number"),
        ({"accumulate": True}, "accumulate: True: write a whole number"),
        ({"log_every_steps": "20"}, "log_every_steps: '20': write a whole number"),
        ({"seed": "a"}, "seed: 'a': write a whole number"),
    ],
)
def test_arguments_of_another_kind(options: dict[str, Any], told: str) -> None:
    model = Layers()
    usual = {"model": model, "optimizer": SGD(model.parameters(), lr=0.1), "loss": model, "data": BATCHES}
    with pytest.raises(InputError, match=re.escape(told)):
        Guard(**{**usual, **options})
