"""AdamW whose step is bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

__all__ = ["StableAdamW"]


class StableAdamW(Optimizer):
    """AdamW with the update clipping of AdaFactor: a tensor's rate is divided by how far its second moment lags.

    "Stable and low-precision training for large-scale vision-language models", Wortsman et al. 2023,
    arXiv:2304.13013. For each tensor, with v̂ the second moment without its bias,
    RMS = √mean(g² / max(v̂, ε²)), and the rate of the step and of the decay is lr / max(1, RMS). RMS is near 1 while
    the gradients are as large as they were, and far above when they suddenly grow: AdamW, whose second moment is then
    too small, would take a step many times its rate. What a gradient adds to its own step is thus at most
    lr · (1 - β1) / (1 - β1^t), as a root mean square; in the steps after it the first moment carries it on, as ever.

    The state of a parameter is that of AdamW: `step`, `exp_avg`, `exp_avg_sq`. With `bound_updates=False` each step is
    bit for bit that of `torch.optim.AdamW(foreach=False)`. Nothing waits for the device.

    Args:
        params: parameters or groups of them.
        lr: the rate; a number, not a tensor.
        betas: of the first and the second moment.
        eps: ε.
        weight_decay: λ, decoupled.
        bound_updates: whether the rate is divided.

    Raises:
        ValueError: a number is out of its range.
        RuntimeError: in `step`, where a gradient is sparse.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        bound_updates: bool = True,
    ) -> None:
        if lr < 0 or eps < 0 or weight_decay < 0:
            raise ValueError(f"lr {lr}, eps {eps}, weight_decay {weight_decay}: write 0 or more for each")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas {betas}: write two numbers from 0 to less than 1")
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "bound_updates": bound_updates}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step; gives what `closure` gives, which computes the gradients anew."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step_one(parameter, parameter.grad, group)
        return loss

    def _step_one(self, parameter: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        if grad.is_sparse:
            raise RuntimeError("StableAdamW takes dense gradients alone: use SparseAdam for the others")
        state = self.state[parameter]
        if not state:
            # The counter stays on the host, where it can be read without waiting.
            state["step"] = torch.tensor(0.0, dtype=torch.float32)
            state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        beta1, beta2 = group["betas"]
        lr, eps, decay = float(group["lr"]), group["eps"], group["weight_decay"]
        exp_avg, exp_avg_sq = state["exp_avg"], state["exp_avg_sq"]
        if parameter.is_complex():
            # As torch does: two numbers, each with its own moments.
            parameter, grad, exp_avg, exp_avg_sq = map(torch.view_as_real, (parameter, grad, exp_avg, exp_avg_sq))
        state["step"] += 1
        step = state["step"].item()
        correction1, correction2 = 1 - beta1**step, 1 - beta2**step
        if not group["bound_updates"]:
            if decay != 0:
                parameter.mul_(1 - lr * decay)
            exp_avg.lerp_(grad, 1 - beta1)
            exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
            denominator = (exp_avg_sq.sqrt() / correction2**0.5).add_(eps)
            parameter.addcdiv_(exp_avg, denominator, value=-(lr / correction1))
            return
        exp_avg.lerp_(grad, 1 - beta1)
        exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        root = exp_avg_sq.sqrt().div_(correction2**0.5)
        # √(g² / max(v̂, ε²)) is |g| / max(√v̂, ε), which overflows later.
        lag = (grad / root.clamp(min=max(eps, torch.finfo(root.dtype).tiny))).square_().mean().sqrt_()
        rate = lr / lag.clamp_(min=1.0)
        if decay != 0:
            parameter.mul_(1 - rate * decay)
        parameter.sub_((exp_avg / root.add_(eps)).mul_(rate / correction1))
