"""What is read of the tensors for forecasts, beside plain arithmetic of the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, NAdam, RMSprop

from supervisor.headroom import Headroom
from supervisor.training.headroom import HALF_TYPES, HeadroomReading
from supervisor.training.norms import on_host
from supervisor.training.optimizers import AnyOptimizer, chained


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.gain = nn.Parameter(torch.full((3,), -5.0))
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, x_BF: Tensor) -> Tensor:
        return (self.linear(x_BF) * self.gain).square().mean()


def trained(make: Any, steps: int = 7) -> tuple[Net, AnyOptimizer]:
    torch.manual_seed(0)
    model = Net()
    optimizer = make(model)
    for number in range(steps):
        for parameter in model.parameters():
            parameter.grad = None
        model((number + 1) * torch.randn(8, 4)).backward()
        optimizer.step()
    return model, optimizer


def read(model: nn.Module, optimizer: AnyOptimizer, computed_in: torch.dtype | None = None) -> Headroom:
    reading = HeadroomReading({p: name for name, p in model.named_parameters()}, optimizer, computed_in)
    return reading.made_of(on_host(reading.parts()))


def test_the_largest_magnitudes() -> None:
    model, optimizer = trained(lambda model: SGD(model.parameters(), lr=1e-3))
    found = read(model, optimizer)
    expected = {name: float(p.detach().abs().max()) for name, p in model.named_parameters()}
    assert dict(found.largest) == expected
    assert found.limits == {}


@pytest.mark.parametrize("options", [{}, {"foreach": True}, {"fused": True}, {"amsgrad": True}])
@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_the_energy_is_over_the_moments_as_the_optimizer_corrects_them(kind: Any, options: dict[str, Any]) -> None:
    model, optimizer = trained(lambda model: kind(model.parameters(), lr=1e-3, betas=(0.9, 0.95), **options))
    found = read(model, optimizer)
    held = [p for p in model.parameters() if p.grad is not None]
    squares = {p: float(p.grad.square().sum()) for p in held if p.grad is not None}
    moments = {p: float(optimizer.state[p]["exp_avg_sq"].sum()) / (1 - 0.95**7) for p in held}
    assert found.energy == pytest.approx(sum(squares.values()) / sum(moments.values()), rel=1e-5)
    names = {p: name for name, p in model.named_parameters()}
    assert found.energy_at == names[max(held, key=lambda p: squares[p] - moments[p])]
    assert found.memory_updates == pytest.approx(20.0)


def test_gradients_that_stay_as_large_have_an_energy_of_one_from_the_first_update() -> None:
    weight = nn.Parameter(torch.ones(5))
    optimizer = Adam([weight], lr=0.0)
    reading = HeadroomReading({weight: "w"}, optimizer)
    for _ in range(3):
        weight.grad = torch.full((5,), 0.25)
        optimizer.step()
        assert reading.made_of(on_host(reading.parts())).energy == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("options", [{}, {"foreach": True}, {"fused": True}])
@pytest.mark.parametrize("order", [1, -1])
def test_a_parameter_that_is_trained_later_is_corrected_by_the_updates_it_has_seen(
    options: dict[str, Any], order: int
) -> None:
    """As a backbone that is unfrozen amid the run, in the group that it was in from the start."""
    first, later = nn.Parameter(torch.ones(5)), nn.Parameter(torch.ones(5))
    optimizer = Adam([first, later][::order], lr=0.0, **options)
    reading = HeadroomReading({first: "first", later: "later"}, optimizer)
    for update in range(60):
        first.grad = torch.full((5,), 0.25)
        later.grad = None if update < 50 else torch.full((5,), 3.0)
        optimizer.step()
    assert reading.made_of(on_host(reading.parts())).energy == pytest.approx(1.0, rel=1e-3)


class RowMoments(torch.optim.Optimizer):
    """Keeps one second moment for each row, as Adam-mini does, under the name that Adam gives its own."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {"betas": (0.9, 0.95)})

    def step(self, closure: Any = None) -> None:
        for parameter in self.param_groups[0]["params"]:
            if parameter.grad is not None:
                mean = parameter.grad.square().mean(dim=-1, keepdim=True)
                self.state[parameter].update(step=7, exp_avg_sq=mean)


def test_a_moment_of_another_shape_than_its_parameter_is_no_second_moment_of_adam() -> None:
    assert read(*trained(lambda model: RowMoments(model.parameters()))).energy is None


def test_groups_have_their_own_memory_and_several_optimizers_count_together() -> None:
    def two(model: nn.Module) -> AnyOptimizer:
        weight, *rest = model.parameters()
        return chained([NAdam([weight], lr=1e-3, betas=(0.9, 0.99)), AdamW(rest, lr=1e-3)])

    found = read(*trained(two))
    assert found.energy is not None
    assert found.memory_updates == pytest.approx(1000)


@pytest.mark.parametrize("kind", [SGD, RMSprop])
def test_without_second_moments_as_adam_keeps_them_there_is_no_energy(kind: Any) -> None:
    found = read(*trained(lambda model: kind(model.parameters(), lr=1e-3)))
    assert (found.energy, found.energy_at, found.memory_updates) == (None, None, None)


def test_before_the_first_step_and_once_the_gradients_are_gone_there_is_none() -> None:
    model, optimizer = trained(lambda model: AdamW(model.parameters(), lr=1e-3), steps=0)
    assert read(model, optimizer).energy is None
    model, optimizer = trained(lambda model: AdamW(model.parameters(), lr=1e-3))
    for parameter in model.parameters():
        parameter.grad = None
    assert read(model, optimizer).energy is None


@pytest.mark.parametrize("name", HALF_TYPES)
def test_types_of_16_bits_have_a_limit(name: str) -> None:
    dtype = HALF_TYPES[name]
    model = Net()
    model.gain.data = model.gain.data.to(dtype)
    limit = torch.finfo(dtype).max
    assert read(model, SGD(model.parameters(), lr=0.1)).limits == {"gain": limit}
    found = read(model, SGD(model.parameters(), lr=0.1), computed_in=dtype)
    assert found.limits == dict.fromkeys(("linear.weight", "linear.bias", "gain", "unused"), limit)
    assert found.largest["gain"] == 5.0


def test_what_is_not_finite_is_left_out() -> None:
    model, optimizer = trained(lambda model: AdamW(model.parameters(), lr=1e-3))
    with torch.no_grad():
        model.linear.weight[0, 0] = torch.nan
        model.gain[0] = torch.inf
    assert set(read(model, optimizer).largest) == {"linear.bias", "unused"}
    assert model.linear.bias.grad is not None
    model.linear.bias.grad[0] = torch.inf
    assert read(model, optimizer).energy is None


def test_nothing_is_changed() -> None:
    model, optimizer = trained(lambda model: AdamW(model.parameters(), lr=1e-3))
    before = [p.detach().clone() for p in model.parameters()]
    keys = [*optimizer.state]
    read(model, optimizer)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert [*optimizer.state] == keys
