"""What the moments of Adam tell of a training: how noisy its gradients are, and how far an update goes.

Both are read off the optimizer's state, so that a checkpoint tells the same as the run did.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["REPLACING", "noise_to_signal", "ratio_metrics", "update_to_weight", "warn_of_replacing_updates"]

LOG = logging.getLogger("energy_flow")

REPLACING = 0.5
"""From this ratio on an update replaces what was learnt. It goes little beyond 1: most of the weights are then of it.

In the first 60 steps of the default task it reaches 0.06, at ten times the rate 0.4, at a hundred times 1.7.
"""


def ratio_metrics(optimizer: Optimizer) -> dict[str, float]:
    """Both as metrics: `gradient_noise_to_signal`, and of the matrices `update_to_weight_median` and `_largest`.

    None before the first step. Waits for the device.
    """
    ratios = update_to_weight(optimizer)
    if not len(ratios):
        return {}
    return {
        "gradient_noise_to_signal": float(noise_to_signal(optimizer)),
        "update_to_weight_median": float(ratios.median()),
        "update_to_weight_largest": float(ratios.max()),
    }


def warn_of_replacing_updates(optimizer: Optimizer) -> None:
    """Log the largest ratio of update to weight where it is `REPLACING` or more. Waits for the device."""
    ratios = update_to_weight(optimizer)
    if len(ratios) and float(ratios.max()) >= REPLACING:
        LOG.warning("an update of a matrix is %.3g times as long as the matrix", float(ratios.max()))


def noise_to_signal(optimizer: Optimizer) -> Tensor:
    """Variance of the gradients over the square of their mean, summed over all elements: 0-dimensional.

    With m̂ and v̂, the moments without their bias: Σ max(v̂ - m̂², 0) / Σ m̂². Near 0 every batch says the same. m̂ is a
    mean of few gradients, so that pure noise gives (1 + β1) / (1 - β1) - 1, 18 for β1 = 0.9, and not infinity.
    Gradients that have become smaller give more, since v̂ remembers them longer. NaN before the first step.
    """
    noise, signal = [], []
    for mean, square, _, _ in _moments(optimizer):
        noise.append((square - mean.square()).clamp_(min=0.0).sum())
        signal.append(mean.square().sum())
    if not noise:
        return torch.tensor(torch.nan)
    return torch.stack(noise).sum() / torch.stack(signal).sum()


def update_to_weight(optimizer: Optimizer) -> Tensor:
    """Length of the update that the moments call for at the present rate, over that of the weights [matrices].

    lr · ‖m̂ / (√v̂ + ε)‖ / ‖W‖ for each parameter of two dimensions or more that was stepped, without the decay, which
    is lr · decay for all. A thousandth is common.
    """
    ratios = [
        group["lr"] * (mean / (square.sqrt() + group["eps"])).norm() / parameter.detach().norm()
        for mean, square, parameter, group in _moments(optimizer)
        if parameter.dim() > 1
    ]
    return torch.stack(ratios) if ratios else torch.zeros(0)


def _moments(optimizer: Optimizer) -> Iterator[tuple[Tensor, Tensor, Tensor, dict[str, Any]]]:
    """First and second moment without their bias, parameter and group, of each parameter that was stepped."""
    for group in optimizer.param_groups:
        beta1, beta2 = group["betas"]
        for parameter in group["params"]:
            held = optimizer.state.get(parameter)
            if held and "exp_avg_sq" in held:
                step = held["step"].to(parameter.device)
                yield held["exp_avg"] / (1 - beta1**step), held["exp_avg_sq"] / (1 - beta2**step), parameter, group
