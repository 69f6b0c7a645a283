"""The optimizer that a config asks for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from energy_flow.averaging import AVERAGE
from energy_flow.clipping import ADAGC, ZCLIP
from energy_flow.clipping_rules import AdaGC, ZClip
from energy_flow.optimizing import build_optimizer, clipping_rule, weight_average
from energy_flow.stability_options import StabilityOptions
from energy_flow.stable_adamw import StableAdamW


def stepped(**options: Any) -> Any:
    """The optimizer of one parameter, after a step."""
    parameter = nn.Parameter(torch.ones(2))
    config = StabilityOptions.model_validate(options)
    optimizer = build_optimizer([{"params": [parameter]}], config, learning_rate=0.1, weight_decay=0.2)
    weight_average(optimizer, config)
    parameter.grad = torch.ones(2)
    optimizer.step()
    return optimizer


def test_by_default_it_is_torchs_fused_adamw_and_keeps_nothing_else() -> None:
    optimizer = stepped()
    assert type(optimizer) is AdamW
    assert optimizer.defaults["fused"]
    assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["weight_decay"]) == (0.1, 0.2)
    (held,) = optimizer.state.values()
    assert held.keys() == {"step", "exp_avg", "exp_avg_sq"}


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ({"optimizer": "stable_adamw"}, {"step", "exp_avg", "exp_avg_sq"}),
        ({"ema_decay": 0.9}, {"step", "exp_avg", "exp_avg_sq", AVERAGE}),
        ({"gradient_clipping": "adagc", "optimizer": "stable_adamw"}, {"step", "exp_avg", "exp_avg_sq", ADAGC}),
    ],
)
def test_what_is_asked_for_keeps_its_state_beside_the_moments(options: dict[str, Any], keys: set[str]) -> None:
    optimizer = stepped(**options)
    assert isinstance(optimizer, StableAdamW) is ("optimizer" in options)
    (held,) = optimizer.state.values()
    assert held.keys() == keys


def test_the_norm_of_all_gradients_has_a_history_of_its_own() -> None:
    optimizer = stepped(gradient_clipping="zclip")
    assert ZCLIP in optimizer.state


def test_rules_are_as_published_unless_the_config_says_otherwise() -> None:
    assert clipping_rule(StabilityOptions()) is None
    assert clipping_rule(StabilityOptions(gradient_clipping="adagc")) == AdaGC(1.05, 0.98, 100, 1.0)
    assert clipping_rule(StabilityOptions(gradient_clipping="zclip")) == ZClip(2.5, 0.97, 25)
    written = StabilityOptions(gradient_clipping="zclip", zclip_threshold=4.0, clipping_warmup_updates=7)
    assert clipping_rule(written) == ZClip(threshold=4.0, warmup_updates=7)
    assert weight_average(stepped(), StabilityOptions()) is None
