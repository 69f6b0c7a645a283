"""The optimizer that a job's config asks for, with whatever goes along in its step."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer

from energy_flow.averaging import WeightAverage
from energy_flow.clipping import clip_with_every_step
from energy_flow.clipping_rules import AdaGC, ZClip
from energy_flow.stability_options import StabilityOptions
from energy_flow.stable_adamw import StableAdamW

__all__ = ["build_optimizer", "clipping_rule", "weight_average"]


def build_optimizer(
    groups: list[dict[str, Any]], options: StabilityOptions, *, learning_rate: float, weight_decay: float
) -> Optimizer:
    """AdamW or what stands for it, clipping its gradients first where that is asked for.

    Args:
        groups: of parameters.
        options: what is asked for.
        learning_rate: of all groups.
        weight_decay: of groups that do not say.
    """
    optimizer: Optimizer
    if options.optimizer == "stable_adamw":
        optimizer = StableAdamW(groups, lr=learning_rate, weight_decay=weight_decay)
    else:
        optimizer = torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay, fused=True)
    rule = clipping_rule(options)
    if rule is not None:
        clip_with_every_step(optimizer, rule)
    return optimizer


def clipping_rule(options: StabilityOptions) -> AdaGC | ZClip | None:
    """The adaptive clipping that is asked for; None for none."""
    warmup = {} if options.clipping_warmup_updates is None else {"warmup_updates": options.clipping_warmup_updates}
    if options.gradient_clipping == "adagc":
        return AdaGC(relative_bound=options.adagc_relative_bound, **warmup)
    if options.gradient_clipping == "zclip":
        return ZClip(threshold=options.zclip_threshold, **warmup)
    return None


def weight_average(optimizer: Optimizer, options: StabilityOptions) -> WeightAverage | None:
    """The average of the weights, moved with every step of the optimizer; None where none is asked for."""
    if options.ema_decay is None:
        return None
    average = WeightAverage(options.ema_decay)
    average.attach(optimizer)
    return average
