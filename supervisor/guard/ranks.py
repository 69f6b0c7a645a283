"""Several processes that train one model together: not supported yet, and never half so."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import torch
from torch import nn

from supervisor.training.modules import named_parameters
from supervisor.training.optimizers import AnyOptimizer

__all__ = ["many_ranks", "sharded"]


def many_ranks() -> Iterator[str]:
    """A process group of more than one rank: each would decide by what it alone sees, and their models part."""
    distributed = torch.distributed
    if not distributed.is_available() or not distributed.is_initialized() or distributed.get_world_size() < 2:
        return
    what = f"torch.distributed: {distributed.get_world_size()} ranks train together, and a guard knows only its own"
    yield f"{what}: train in one process (without torchrun), or without the guard"


def sharded(model: nn.Module, optimizer: AnyOptimizer) -> Iterator[str]:
    """Parameters of which this process holds a part (DTensor: FSDP2, tensor parallel)."""
    # Where nobody has imported it there is none, and to import it takes a second.
    kind = getattr(sys.modules.get("torch.distributed.tensor"), "DTensor", None)
    if kind is None:
        return
    named = [name for name, parameter in named_parameters(model).items() if isinstance(parameter, kind)]
    held = [each for group in optimizer.param_groups for each in group["params"] if isinstance(each, kind)]
    if named or held:
        what = f"model: {', '.join(named[:3])}" if named else f"optimizer: {len(held)} of its parameters"
        several = "are DTensors" if len(named) != 1 else "is a DTensor"
        mend = "give the whole model, without fully_shard or distribute_tensor"
        yield f"{what} {several} (FSDP2, tensor parallel), of which a guard would see one part: {mend}"
