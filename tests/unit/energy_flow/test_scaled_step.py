"""What rides on an optimizer's step under a gradient scaler, whoever unscales and whoever skips."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import AdamW

from energy_flow.averaging import AVERAGE, WeightAverage
from energy_flow.clipping import ADAGC, HISTORY, ZCLIP, clip_with_every_step
from energy_flow.clipping_rules import AdaGC, ZClip
from energy_flow.scaled_step import kept_where_skipped, overflow, scale_left

RULES = {"adagc": AdaGC(warmup_updates=2), "zclip": ZClip(warmup_updates=2)}
OVERFLOWS = (0, 3)


def trained(rule: AdaGC | ZClip, *, fused: bool, scale: float | None, steps: int = 6) -> list[Tensor]:
    """Weights, averages and histories after some steps, of which those of `OVERFLOWS` are skipped.

    Args:
        rule: by which gradients are clipped.
        fused: whether the optimizer unscales and skips by itself.
        scale: of the loss; None: no scaler, and the steps are left out.
        steps: with those that are skipped.
    """
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = AdamW(model.parameters(), lr=0.1, fused=fused)
    clip_with_every_step(optimizer, rule)
    WeightAverage(0.75).attach(optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale or 1.0, growth_interval=10**6, backoff_factor=0.5)
    for step, inputs in enumerate(torch.randn(steps, 4, 3)):
        optimizer.zero_grad()
        loss = model(inputs).square().mean()
        if scale is None:
            if step not in OVERFLOWS:
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            continue
        scaler.scale(loss).backward()
        if step in OVERFLOWS:
            assert model.bias.grad is not None
            model.bias.grad[0] = torch.inf
        scaler.step(optimizer)
        scaler.update()
    state: Any = optimizer.state
    histories = [state[ZCLIP][HISTORY]] if ZCLIP in state else [state[each][ADAGC] for each in model.parameters()]
    return [
        each.detach() for each in (*model.parameters(), *(state[p][AVERAGE] for p in model.parameters()), *histories)
    ]


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", RULES)
def test_a_step_that_a_scaler_skips_leaves_no_trace_and_its_scale_is_no_part_of_a_gradient(
    name: str, fused: bool
) -> None:
    expected = trained(RULES[name], fused=fused, scale=None)
    found = trained(RULES[name], fused=fused, scale=2.0**16)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_without_a_scaler_nothing_is_said() -> None:
    optimizer = AdamW([nn.Parameter(torch.ones(2))], fused=True)
    assert (overflow(optimizer), scale_left(optimizer)) == (None, None)
    after = torch.ones(2)
    assert kept_where_skipped(optimizer, torch.zeros(2), after) is after
