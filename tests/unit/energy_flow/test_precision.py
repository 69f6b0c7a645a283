"""Mixed precision of the forward pass."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from energy_flow.precision import autocast, gradient_scaler
from energy_flow.stability_options import Precision


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16), ("float16", torch.float16)]
)
def test_a_product_of_matrices_runs_in_the_type_that_is_asked_for(precision: Precision, dtype: torch.dtype) -> None:
    with autocast("cpu", precision):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is dtype


def test_the_loss_is_scaled_for_float16_alone() -> None:
    assert gradient_scaler("float32") is None
    assert gradient_scaler("bfloat16") is None
    scaler = gradient_scaler("float16")
    assert scaler is not None
    assert scaler.is_enabled()


def test_the_scale_carries_a_gradient_that_float16_would_lose() -> None:
    scaler = gradient_scaler("float16")
    assert scaler is not None
    layer, gradients = nn.Linear(1, 1, bias=False), []
    for scaled in (False, True):
        layer.zero_grad()
        with autocast("cpu", "float16"):
            # The product alone runs in float16, whose smallest number is 6e-8, and so does its gradient.
            loss = layer(torch.full((1, 1), 1e-2)).float().sum() * 1e-6
        (scaler.scale(loss) if scaled else loss).backward()
        assert layer.weight.grad is not None
        gradients.append(layer.weight.grad.item() / (scaler.get_scale() if scaled else 1.0))
    assert abs(gradients[0] - 1e-8) > 5e-9
    assert gradients[1] == pytest.approx(1e-8, rel=2e-3)
