"""What cannot be supervised is refused before the first step, all of it at once, with its mend."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.parts import policy_of
from torch import nn
from torch.optim import LBFGS, SGD, Adam

from supervisor.errors import InputError
from supervisor.guard.arguments import (
    NotGiven,
    refuse,
    wrong_loop,
    wrong_numbers,
    wrong_objects,
    wrong_switches,
    wrong_training,
)
from supervisor.testing.tiny import TinyNet, tiny_batches
from supervisor.training.optimizers import chained

SCALER = torch.amp.GradScaler("cpu")


class Stateful:
    def state_dict(self) -> Any:
        return {}

    def load_state_dict(self, state: Any) -> None:
        """Nothing."""


class ByIndex:
    """The old protocol of iteration."""

    def __getitem__(self, index: int) -> int:
        if index > 2:
            raise IndexError
        return index


def problems(wrong: Any, *arguments: Any) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        refuse(wrong(*arguments))
    return caught.value.problems


class TestObjects:
    @pytest.mark.parametrize("data", [None, [1], tiny_batches(1), iter([1]), ByIndex()])
    def test_what_can_be_meant_passes(self, data: Any) -> None:
        refuse(wrong_objects(TinyNet(), data, SCALER, {"ema": Stateful()}))
        refuse(wrong_objects(TinyNet(), data, None, None))

    def test_all_that_cannot_is_told_at_once(self) -> None:
        assert problems(wrong_objects, lambda x: x, 3, "scaler", ["ema"]) == (
            "model: a function: give a torch.nn.Module",
            "data: an int: give an iterable of batches",
            "scaler: a str: give a torch.amp.GradScaler",
            "extra_state: a list: give a mapping of names to objects",
        )

    def test_registered_state_is_told_by_its_name(self) -> None:
        extra = {"ema": Stateful(), "best": 3.0, "draws": torch.Generator()}
        assert problems(wrong_objects, TinyNet(), None, None, extra) == (
            "extra_state: best: a float: give an object with state_dict and load_state_dict",
            "extra_state: draws: a Generator: give an object with state_dict and load_state_dict "
            "that call its get_state and set_state",
        )


class TestLoop:
    @pytest.mark.parametrize(
        ("loss", "replay"),
        [(NotGiven.HERE, None), (NotGiven.HERE, False), (NotGiven.HERE, len), (len, True), (len, None), (len, len)],
    )
    def test_what_can_be_supervised_passes(self, loss: Any, replay: Any) -> None:
        refuse(wrong_loop(loss, replay, None, Stateful()))
        refuse(wrong_loop(loss, replay, [1], None))

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ((None, None, None, None), "loss: None: give a function of a batch that returns a scalar tensor"),
            ((torch.zeros(()), None, None, None), "loss: a Tensor: give a function of a batch"),
            ((len, 3, None, None), "replay: an int: give a function of a batch that returns its loss, or False"),
            ((NotGiven.HERE, True, None, None), "replay: there is no `loss` to call again: give the function itself"),
            ((len, None, None, 3), "position: an int: give an object with state_dict and load_state_dict"),
            ((len, None, [1], Stateful()), "position: the guard knows the position in `data` itself: give one"),
        ],
    )
    def test_each_that_cannot_is_told(self, arguments: Any, told: str) -> None:
        (problem,) = problems(wrong_loop, *arguments)
        assert problem.startswith(told)

    def test_all_are_told_at_once(self) -> None:
        assert len(problems(wrong_loop, 3, "no", [1], 4)) == 4


class TestNumbers:
    def test_what_is_right_passes(self) -> None:
        refuse(wrong_numbers("step", 1, 20, None))
        refuse(wrong_numbers("epoch", 4, 1, -3))

    def test_all_that_is_wrong_is_told_at_once(self) -> None:
        assert problems(wrong_numbers, "batch", 0, 2.5, "seven") == (
            'scheduler_interval: \'batch\': write "step" or "epoch"',
            "accumulate: 0: write a whole number, 1 or more",
            "log_every_steps: 2.5: write a whole number, 1 or more",
            "seed: 'seven': write a whole number",
        )

    @pytest.mark.parametrize("number", [True, None, "1", 1.0, -1])
    def test_a_truth_is_no_number_nor_is_a_word(self, number: Any) -> None:
        assert len(problems(wrong_numbers, "step", number, number, None)) == 2
        if number is not None and number != -1:
            assert len(problems(wrong_numbers, "step", 1, 1, number)) == 1


class TestTraining:
    def test_a_plain_training_passes(self) -> None:
        model = TinyNet()
        refuse(wrong_training(model, Adam(model.parameters()), policy_of(gradient_clip={"max_norm": 1.0})))

    def test_modules_that_are_not_initialised_are_named(self) -> None:
        model = nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d())
        optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
        (problem,) = problems(wrong_training, model, optimizer, policy_of())
        assert problem.startswith("model: 0.weight, 0.bias, 1.weight not initialised (lazy modules): run one batch")

    def test_an_optimizer_with_a_closure_is_refused(self) -> None:
        model = TinyNet()
        (problem,) = problems(wrong_training, model, LBFGS(model.parameters()), policy_of())
        assert problem.startswith("optimizer: LBFGS steps through a closure, which cannot be inspected: use one")

    def test_so_is_one_among_several(self) -> None:
        model = TinyNet()
        several = chained([SGD(model.inner.parameters(), lr=0.1), LBFGS(model.outer.parameters())])
        (problem,) = problems(wrong_training, model, several, policy_of())
        assert "LBFGS" in problem

    def test_a_scheduler_that_wraps_the_step_takes_nothing_for_a_closure(self) -> None:
        model = TinyNet()
        optimizer = Adam(model.parameters())
        torch.optim.lr_scheduler.StepLR(optimizer, 3)
        refuse(wrong_training(model, optimizer, policy_of()))

    def test_a_group_without_a_rate_is_named(self) -> None:
        model = TinyNet()
        optimizer = SGD([{"params": model.inner.parameters()}, {"params": model.outer.parameters()}], lr=0.1)
        optimizer.param_groups[1]["lr"] = None
        assert problems(wrong_training, model, optimizer, policy_of()) == (
            "optimizer: SGD: param_groups.1 has no `lr`: give it a learning rate: lower_lr multiplies it",
        )

    @pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
    def test_sparse_gradients_are_refused_only_where_they_would_be_clipped(self, kind: Any) -> None:
        model = nn.Sequential(kind(4, 2, sparse=True))
        optimizer = SGD(model.parameters(), lr=0.1)
        refuse(wrong_training(model, optimizer, policy_of()))
        (problem,) = problems(wrong_training, model, optimizer, policy_of(gradient_clip={"max_norm": 1.0}))
        assert problem == (
            "model: 0 has sparse gradients, which torch cannot clip: "
            "write `gradient_clip: null`, or build it with sparse=False"
        )

    def test_all_that_is_wrong_is_told_at_once(self) -> None:
        model = nn.Sequential(nn.LazyLinear(3))
        optimizer = LBFGS([nn.Parameter(torch.zeros(1))])
        assert len(problems(wrong_training, model, optimizer, policy_of())) == 2


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_a_switch_is_on_or_off(value: Any) -> None:
    assert [*wrong_switches(quiet=value, resume=True)] == [f"quiet: {value!r}: write True or False"]
