"""Adaptive clipping inside an optimizer's step, its history in the optimizer's state."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer, SparseAdam

from energy_flow.clipping import ADAGC, HISTORY, ZCLIP, clip_with_every_step
from energy_flow.clipping_rules import AdaGC, ZClip

RULES = {"adagc": AdaGC(warmup_updates=3), "zclip": ZClip(warmup_updates=3)}


def model_and_optimizer(rule: AdaGC | ZClip | None, **options: Any) -> tuple[nn.Module, Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2))
    optimizer = AdamW(model.parameters(), lr=0.01, **options)
    if rule is not None:
        clip_with_every_step(optimizer, rule)
    return model, optimizer


def step(model: nn.Module, optimizer: Optimizer, size: float) -> None:
    for index, parameter in enumerate(model.parameters()):
        parameter.grad = torch.full_like(parameter, size * (index + 1))
    optimizer.step()


def total_norm(model: nn.Module) -> float:
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return torch.nn.utils.get_total_norm(gradients).item()


def histories(optimizer: Optimizer) -> list[Tensor]:
    state: Any = optimizer.state
    if ZCLIP in state:
        return [state[ZCLIP][HISTORY]]
    return [held[ADAGC] for held in state.values()]


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", RULES)
def test_a_spike_after_the_warmup_is_clipped_and_what_came_before_is_not(name: str, fused: bool) -> None:
    model, optimizer = model_and_optimizer(RULES[name], fused=fused)
    plain, unclipped = model_and_optimizer(None, fused=fused)
    for size in (0.01, 0.011, 0.01, 0.0102):
        step(model, optimizer, size)
        step(plain, unclipped, size)
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other), "a scale of 1 keeps every bit"
    healthy = total_norm(model)
    step(model, optimizer, 1.0)
    assert total_norm(model) < 1.1 * healthy
    assert all(held.isfinite().all() for held in histories(optimizer))


@pytest.mark.parametrize("name", RULES)
def test_the_history_is_saved_with_the_optimizer_and_goes_on(name: str) -> None:
    sizes = (0.01, 0.011, 0.01, 0.5, 0.01, 0.3)
    model, optimizer = model_and_optimizer(RULES[name])
    for size in sizes:
        step(model, optimizer, size)
    other, resumed = model_and_optimizer(RULES[name])
    for size in sizes[:3]:
        step(other, resumed, size)
    saved = resumed.state_dict()
    weights = {key: value.clone() for key, value in other.state_dict().items()}
    other, resumed = model_and_optimizer(RULES[name])
    other.load_state_dict(weights)
    resumed.load_state_dict(saved)
    for size in sizes[3:]:
        step(other, resumed, size)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
    for one, two in zip(histories(optimizer), histories(resumed), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("name", RULES)
def test_a_step_that_raises_writes_no_history(name: str) -> None:
    class Raises(SGD):
        def step(self, closure: Any = None) -> None:
            if parameter.grad is not None:
                raise RuntimeError("the step fails")

    parameter = nn.Parameter(torch.ones(3))
    optimizer = Raises([parameter], lr=0.1)
    clip_with_every_step(optimizer, RULES[name])
    parameter.grad = torch.ones(3)
    with pytest.raises(RuntimeError, match="the step fails"):
        optimizer.step()
    assert not optimizer.state
    parameter.grad = None
    optimizer.step()
    assert not optimizer.state, "nor does the next one write that of the one that failed"


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.complex64])
def test_parameters_of_any_type_are_clipped(name: str, dtype: torch.dtype) -> None:
    parameter = nn.Parameter(torch.ones(4, dtype=dtype))
    optimizer = SGD([parameter], lr=0.0)
    clip_with_every_step(optimizer, RULES[name])
    for size in (0.125, 0.1875, 0.125, 8.0):
        parameter.grad = torch.full_like(parameter, size)
        optimizer.step()
    assert float(parameter.grad.abs().max()) < 0.3
    assert all(held.dtype is torch.float32 and held.isfinite().all() for held in histories(optimizer))


@pytest.mark.parametrize("name", RULES)
def test_sparse_gradients_are_clipped(name: str) -> None:
    table = nn.Embedding(5, 2, sparse=True)
    optimizer = SparseAdam(table.parameters(), lr=1e-3)
    clip_with_every_step(optimizer, RULES[name])
    for size in (0.125, 0.1875, 0.125, 8.0):
        optimizer.zero_grad()
        (size * table(torch.tensor([1, 1, 2]))).sum().backward()
        optimizer.step()
    assert table.weight.grad is not None
    assert float(table.weight.grad.to_dense().abs().max()) < 0.6


@pytest.mark.parametrize("name", RULES)
def test_a_step_without_gradients_is_none(name: str) -> None:
    _, optimizer = model_and_optimizer(RULES[name])
    optimizer.step()
    assert not optimizer.state


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", RULES)
def test_nothing_waits_for_the_device(name: str) -> None:
    parameter = nn.Parameter(torch.ones(3, device="cuda"))
    optimizer = AdamW([parameter], fused=True)
    clip_with_every_step(optimizer, RULES[name])
    for _ in range(6):
        parameter.grad = torch.ones(3, device="cuda")
        torch.cuda.set_sync_debug_mode("error")
        try:
            optimizer.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert all(held.device.type == "cuda" for held in histories(optimizer))
