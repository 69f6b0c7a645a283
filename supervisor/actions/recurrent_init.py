"""Stable weights for recurrent modules."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from supervisor.policy import RedrawMethod

__all__ = ["redraw_recurrent_"]


@torch.no_grad()
def redraw_recurrent_(module: nn.Module, method: RedrawMethod) -> None:
    """Draw a recurrent module (or cell) afresh, in place, from the global generator.

    Input weights: Xavier uniform for each gate. Hidden weights: orthogonal for each gate, or Xavier. Biases: zero,
    except that a GRU's update gate and an LSTM's forget gate start open with a hidden bias of 1 (torch orders the
    gates reset, update, new and input, forget, cell, output).
    """
    for key, weight in module.named_parameters():
        gates = _gates(weight, module)
        if key.startswith("bias"):
            nn.init.zeros_(weight)
            if key.startswith("bias_hh") and len(gates) > 1:
                nn.init.ones_(gates[1])
            continue
        orthogonal = method is RedrawMethod.ORTHOGONAL and key.startswith("weight_hh")
        for gate in gates:
            # The orthogonal draw knows no half types.
            wide = gate.to(torch.promote_types(gate.dtype, torch.float32))
            gate.copy_(nn.init.orthogonal_(wide) if orthogonal else nn.init.xavier_uniform_(wide))


def _gates(weight: Tensor, module: nn.Module) -> tuple[Tensor, ...]:
    """One view for each gate stacked along the first dimension; the projection of an LSTM is a single block."""
    hidden = module.hidden_size
    if not isinstance(hidden, int):
        return (weight,)
    return torch.split(weight, hidden) if weight.shape[0] % hidden == 0 and weight.shape[0] > hidden else (weight,)
