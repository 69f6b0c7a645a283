"""Mixed precision: the forward pass in half a width, and the loss scaled where gradients would vanish."""

from __future__ import annotations

import torch

from energy_flow.stability_options import Precision

__all__ = ["autocast", "gradient_scaler"]

TYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def autocast(device_type: str, precision: Precision) -> torch.autocast:
    """The block in which the forward pass runs; for `float32` it changes nothing.

    Args:
        device_type: `cpu` or `cuda`.
        precision: of the operations that autocast lets run in half a width.
    """
    dtype = TYPES[precision]
    return torch.autocast(device_type, dtype or torch.bfloat16, enabled=dtype is not None)


def gradient_scaler(precision: Precision) -> torch.amp.GradScaler | None:
    """A scaler of the loss for `float16`, whose smallest number is 6e-8; None for types that reach as far as float32.

    It works for tensors on any device, whichever it is named for.
    """
    if precision != "float16":
        return None
    return torch.amp.GradScaler("cuda" if torch.cuda.is_available() else "cpu")
