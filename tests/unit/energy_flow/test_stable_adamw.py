"""AdamW with a bounded step: torch's own where the bound is off, and never farther than it says where it is on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import AdamW

from energy_flow.stable_adamw import StableAdamW


def parameters(dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((7, 3), (3,), (1,), (2, 3, 5))
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in shapes]


def gradients(step: int, like: list[nn.Parameter], size: float = 1.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(100 + step)
    return [size * torch.randn(each.shape, generator=generator, dtype=each.dtype) for each in like]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_without_the_bound_it_is_torchs_own_bit_for_bit(decay: float, dtype: torch.dtype) -> None:
    mine, torchs = parameters(dtype), parameters(dtype)
    options: dict[str, Any] = {"lr": 0.03, "betas": (0.8, 0.97), "eps": 1e-6, "weight_decay": decay}
    groups = [[{"params": each[:2]}, {"params": each[2:], "weight_decay": 0.5, "lr": 0.01}] for each in (mine, torchs)]
    optimizers = StableAdamW(groups[0], **options, bound_updates=False), AdamW(groups[1], **options, foreach=False)
    for step in range(30):
        for each in (mine, torchs):
            for parameter, gradient in zip(each, gradients(step, each, 10.0 ** (step % 5 - 2)), strict=True):
                parameter.grad = gradient
        for optimizer in optimizers:
            optimizer.step()
        assert all(torch.equal(one, other) for one, other in zip(mine, torchs, strict=True))
    for one, other in zip(mine, torchs, strict=True):
        held, expected = (optimizer.state[key] for optimizer, key in zip(optimizers, (one, other), strict=True))
        assert held.keys() == expected.keys()
        assert all(torch.equal(held[key], expected[key]) for key in held)


def test_a_step_is_divided_by_how_far_the_second_moment_lags() -> None:
    parameter, lr, decay = nn.Parameter(torch.tensor([2.0, -1.0])), 0.1, 0.2
    optimizer = StableAdamW([parameter], lr=lr, weight_decay=decay)
    mean, square, weight = torch.zeros(2), torch.zeros(2), parameter.detach().clone()
    for step, gradient in enumerate([torch.tensor([0.1, 0.2])] * 5 + [torch.tensor([5.0, 0.1])], start=1):
        parameter.grad = gradient.clone()
        optimizer.step()
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        unbiased = square / (1 - 0.999**step)
        lag = (gradient**2 / unbiased).mean().sqrt()
        rate = lr / max(1.0, lag.item())
        weight = weight - rate * (decay * weight + mean / (1 - 0.9**step) / (unbiased.sqrt() + 1e-8))
    assert lag > 1.5
    torch.testing.assert_close(parameter.detach(), weight, rtol=1e-5, atol=1e-6)


@given(st.lists(st.lists(st.floats(-18, 18), min_size=3, max_size=3), min_size=1, max_size=10))
def test_what_a_gradient_adds_to_its_own_step_is_bounded(sizes: list[list[float]]) -> None:
    """At most the rate times (1 - β1) / (1 - β1^t), as a root mean square; what earlier ones have left comes on top."""
    parameter, beta1 = nn.Parameter(torch.zeros(3, dtype=torch.float64)), 0.9
    optimizer = StableAdamW([parameter], lr=1.0, betas=(beta1, 0.999), weight_decay=0.0)
    for step, row in enumerate(sizes, start=1):
        before, held = parameter.detach().clone(), optimizer.state.get(parameter)
        earlier = torch.zeros_like(parameter) if not held else held["exp_avg"] * beta1 / (1 - beta1**step)
        parameter.grad = 10.0 ** torch.tensor(row, dtype=torch.float64)
        optimizer.step()
        root = (optimizer.state[parameter]["exp_avg_sq"] / (1 - 0.999**step)).sqrt()
        lag = (parameter.grad / root.clamp(min=1e-8)).square().mean().sqrt().clamp(min=1.0)
        added = before - parameter.detach() - earlier / (root + 1e-8) / lag
        assert parameter.isfinite().all()
        assert added.square().mean().sqrt().item() <= (1 - beta1) / (1 - beta1**step) * (1 + 1e-6) + 1e-9


def test_a_complex_number_steps_as_its_two_halves() -> None:
    whole, halves = (
        nn.Parameter(torch.tensor([1.0 + 2.0j, 3.0 - 1.0j])),
        nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, -1.0]])),
    )
    optimizers = StableAdamW([whole], lr=0.1), StableAdamW([halves], lr=0.1)
    for size in (0.1, 0.1, 5.0):
        halves.grad = torch.tensor([[size, -size], [2 * size, size]])
        whole.grad = torch.view_as_complex(halves.grad.clone())
        for optimizer in optimizers:
            optimizer.step()
    assert torch.equal(torch.view_as_real(whole.detach()), halves.detach())


def test_a_spike_moves_less_than_under_adamw() -> None:
    moved = []
    for kind in (StableAdamW, AdamW):
        parameter = nn.Parameter(torch.zeros(4))
        optimizer: Any = kind([parameter], lr=0.01, betas=(0.9, 0.999), weight_decay=0.0)
        for size in [1e-3] * 200 + [1.0]:
            before = parameter.detach().clone()
            parameter.grad = torch.full((4,), size)
            optimizer.step()
        moved.append((parameter.detach() - before).norm().item())
    assert moved[0] < moved[1] / 5


def test_gradients_of_zero_move_nothing() -> None:
    parameter = nn.Parameter(torch.ones(3))
    optimizer = StableAdamW([parameter], weight_decay=0.0)
    parameter.grad = torch.zeros(3)
    optimizer.step()
    assert parameter.tolist() == [1.0] * 3


@pytest.mark.parametrize("wrong", [{"lr": -1.0}, {"eps": -1.0}, {"betas": (0.9, 1.0)}, {"weight_decay": -0.1}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        StableAdamW([nn.Parameter(torch.ones(1))], **wrong)


def test_sparse_gradients_are_refused() -> None:
    table = nn.Embedding(4, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="use SparseAdam"):
        StableAdamW(table.parameters()).step()
