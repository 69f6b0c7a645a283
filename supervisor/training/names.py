"""Names of parameters: as the user wrote them, and of those that the optimizer alone holds."""

from __future__ import annotations

from torch import Tensor, nn

from supervisor.training.modules import COMPILED
from supervisor.training.optimizers import AnyOptimizer, members

__all__ = ["named_parameters", "parameter_names"]


def named_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Every parameter by its name, as it is without `torch.compile`; a shared one has its first."""
    return {_plain(name): parameter for name, parameter in model.named_parameters()}


def parameter_names(model: nn.Module, optimizer: AnyOptimizer) -> dict[Tensor, str]:
    """Every parameter that a step can change, with its name; those of the optimizer alone get a number."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in named_parameters(model).items()}
    optimizers = members(optimizer)
    for number, each in enumerate(optimizers):
        prefix = f"optimizers.{number}." if len(optimizers) > 1 else ""
        for index, group in enumerate(each.param_groups):
            for position, parameter in enumerate(group["params"]):
                names.setdefault(parameter, f"{prefix}param_groups.{index}.{position}")
    return names


def _plain(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != COMPILED)
