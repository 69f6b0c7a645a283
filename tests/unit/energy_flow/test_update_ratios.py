"""What the moments tell: noise against signal, updates against weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from energy_flow.update_ratios import noise_to_signal, ratio_metrics, update_to_weight


def after(gradients: list[torch.Tensor], **options: float) -> tuple[nn.Parameter, AdamW]:
    parameter = nn.Parameter(torch.ones(gradients[0].shape))
    optimizer = AdamW([parameter, nn.Parameter(torch.ones(2))], lr=0.01, weight_decay=0.0, **options)  # type: ignore[arg-type]
    for gradient in gradients:
        parameter.grad = gradient
        optimizer.step()
    return parameter, optimizer


def test_gradients_that_agree_have_no_noise() -> None:
    _, optimizer = after([torch.ones(3, 4)] * 10)
    assert noise_to_signal(optimizer).item() == pytest.approx(0.0, abs=1e-4)


def test_pure_noise_gives_what_is_said_of_it() -> None:
    generator = torch.Generator().manual_seed(0)
    _, optimizer = after([torch.randn(100, 100, generator=generator) for _ in range(200)])
    assert noise_to_signal(optimizer).item() == pytest.approx(18.0, rel=0.1)


def test_the_update_is_that_which_the_optimizer_made() -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(5, 4, generator=generator) for _ in range(6)]
    before, _ = after(gradients[:-1])
    parameter, optimizer = after(gradients)
    made = (parameter - before).norm() / parameter.norm()
    assert update_to_weight(optimizer).tolist() == pytest.approx([made.item()], rel=1e-3)


def test_only_matrices_have_a_ratio() -> None:
    _, optimizer = after([torch.ones(4)])
    assert len(update_to_weight(optimizer)) == 0


def test_there_are_no_metrics_before_the_first_step() -> None:
    optimizer = AdamW([nn.Parameter(torch.ones(2, 2))])
    assert ratio_metrics(optimizer) == {}
    assert math.isnan(noise_to_signal(optimizer))
    _, optimizer = after([torch.ones(3, 4)] * 10)
    found = ratio_metrics(optimizer)
    assert found["update_to_weight_median"] == found["update_to_weight_largest"] > 0
