"""The learning-rate scale: in force for the optimizer's step alone, whatever the scheduler does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim import lr_scheduler as schedulers

from supervisor.training.learning_rate import highest_lr, nominal_lr, scaled_learning_rates
from supervisor.training.optimizers import ChainedOptimizer

STEPS = 12


def optimizer() -> SGD:
    weights = [nn.Parameter(torch.ones(2)) for _ in range(2)]
    return SGD([{"params": weights[:1], "lr": 0.1}, {"params": weights[1:], "lr": 0.02}], momentum=0.9)


SCHEDULERS: dict[str, Callable[[Optimizer], schedulers.LRScheduler]] = {
    "LambdaLR": lambda o: schedulers.LambdaLR(o, lambda step: 0.95**step),
    "MultiplicativeLR": lambda o: schedulers.MultiplicativeLR(o, lambda step: 0.95),
    "StepLR": lambda o: schedulers.StepLR(o, 3),
    "MultiStepLR": lambda o: schedulers.MultiStepLR(o, [2, 5]),
    "ConstantLR": lambda o: schedulers.ConstantLR(o, 0.3, 4),
    "LinearLR": lambda o: schedulers.LinearLR(o, 0.1, 1.0, 6),
    "ExponentialLR": lambda o: schedulers.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda o: schedulers.PolynomialLR(o, 8, 2.0),
    "CosineAnnealingLR": lambda o: schedulers.CosineAnnealingLR(o, 5),
    "CosineAnnealingWarmRestarts": lambda o: schedulers.CosineAnnealingWarmRestarts(o, 4),
    "CyclicLR": lambda o: schedulers.CyclicLR(o, 0.01, 0.1, 3),
    "OneCycleLR": lambda o: schedulers.OneCycleLR(o, 0.2, total_steps=STEPS + 1),
    "ReduceLROnPlateau": lambda o: schedulers.ReduceLROnPlateau(o, patience=1),
    "SequentialLR": lambda o: schedulers.SequentialLR(
        o, [schedulers.LinearLR(o, 0.1, 1.0, 3), schedulers.ExponentialLR(o, 0.9)], [3]
    ),
    "ChainedScheduler": lambda o: schedulers.ChainedScheduler(
        [schedulers.ConstantLR(o, 0.5, 4), schedulers.ExponentialLR(o, 0.9)]
    ),
}


def test_no_scheduler_of_torch_is_left_out() -> None:
    known = {name for name in schedulers.__all__ if name != "LRScheduler"}
    assert known - set(SCHEDULERS) == set()


def rates(make: Callable[[Optimizer], schedulers.LRScheduler], scale: float) -> tuple[list[list[float]], list[float]]:
    """The nominal rates after each step, and what the optimizer stepped with."""
    held = optimizer()
    scheduler = make(held)
    nominal, used = [], []
    for step in range(STEPS):
        with scaled_learning_rates(held, scale):
            used.append(float(held.param_groups[0]["lr"]))
            held.step()
        scheduler.step(*([1.0 + step] if isinstance(scheduler, schedulers.ReduceLROnPlateau) else []))
        nominal.append([float(group["lr"]) for group in held.param_groups])
    return nominal, used


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_nominal_rates_are_those_of_a_run_without_cuts(name: str) -> None:
    healthy, full = rates(SCHEDULERS[name], 1.0)
    cut, scaled = rates(SCHEDULERS[name], 0.25)
    assert cut == healthy
    assert scaled == [rate * 0.25 for rate in full]
    assert len({rate for step in healthy for rate in step}) > 2


def test_a_smaller_rate_makes_a_smaller_step() -> None:
    def moved(scale: float) -> float:
        weight = nn.Parameter(torch.ones(1))
        held = SGD([weight], lr=0.5)
        weight.grad = torch.ones(1)
        with scaled_learning_rates(held, scale):
            held.step()
        return 1.0 - weight.item()

    assert (moved(1.0), moved(0.25)) == (0.5, 0.125)


def test_the_very_object_is_put_back_even_when_the_step_raises() -> None:
    held = optimizer()
    lr = 0.1 + 0.2
    held.param_groups[0]["lr"] = lr

    def raising() -> None:
        with scaled_learning_rates(held, 0.5):
            assert held.param_groups[0]["lr"] == lr * 0.5
            raise KeyError

    with pytest.raises(KeyError):
        raising()
    assert held.param_groups[0]["lr"] is lr
    assert held.param_groups[1]["lr"] == 0.02


def test_a_tensor_rate_is_neither_written_to_nor_replaced() -> None:
    weight = nn.Parameter(torch.ones(2))
    lr = torch.tensor(0.1)
    held = AdamW([weight], lr=lr, foreach=False)
    weight.grad = torch.ones(2)
    with scaled_learning_rates(held, 0.5):
        inside = held.param_groups[0]["lr"]
        assert isinstance(inside, torch.Tensor)
        assert inside.item() == pytest.approx(0.05)
        held.step()
    assert held.param_groups[0]["lr"] is lr
    assert torch.equal(lr, torch.tensor(0.1))


def test_a_scale_of_one_touches_nothing() -> None:
    class Frozen(dict):  # type: ignore[type-arg]
        def __setitem__(self, key: object, value: object) -> None:
            raise AssertionError(f"{key} was written to")

    held = optimizer()
    held.param_groups[0] = Frozen(held.param_groups[0])
    with scaled_learning_rates(held, 1.0):
        pass
    with pytest.raises(AssertionError, match="lr was written to"), scaled_learning_rates(held, 0.5):
        pass


def test_the_nominal_rate_is_the_first_groups() -> None:
    held = optimizer()
    assert nominal_lr(held) == 0.1
    held.param_groups[0]["lr"] = torch.tensor(0.25)
    assert nominal_lr(held) == 0.25


def test_the_highest_rate_is_of_all_groups_and_optimizers() -> None:
    held = optimizer()
    assert highest_lr(held) == 0.1
    held.param_groups[1]["lr"] = torch.tensor(0.25)
    assert highest_lr(held) == 0.25
    assert highest_lr(ChainedOptimizer([optimizer(), held])) == 0.25


def test_each_group_is_scaled_inside_the_block_and_the_same_again_afterwards() -> None:
    held = optimizer()
    for scale in (0.5, 0.25):
        with scaled_learning_rates(held, scale):
            assert [group["lr"] for group in held.param_groups] == [0.1 * scale, 0.02 * scale]
        assert [group["lr"] for group in held.param_groups] == [0.1, 0.02]


def test_with_nothing_to_scale_a_rate_set_inside_stays() -> None:
    held = optimizer()
    with scaled_learning_rates(held, 1.0):
        held.param_groups[0]["lr"] = 0.7
    assert held.param_groups[0]["lr"] == 0.7


def test_groups_that_came_inside_the_block_keep_their_rate() -> None:
    held = optimizer()
    with scaled_learning_rates(held, 0.5):
        held.add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": 0.4})
    assert [group["lr"] for group in held.param_groups] == [0.1, 0.02, 0.4]


def test_several_optimizers_are_scaled_as_one() -> None:
    first, second = optimizer(), optimizer()
    second.param_groups[0]["lr"] = 0.8
    with scaled_learning_rates(ChainedOptimizer([first, second]), 0.5):
        assert (first.param_groups[0]["lr"], second.param_groups[0]["lr"]) == (0.05, 0.4)
    assert (first.param_groups[0]["lr"], second.param_groups[0]["lr"]) == (0.1, 0.8)
