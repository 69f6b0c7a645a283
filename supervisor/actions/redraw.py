"""Drawing the weights of modules afresh."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from supervisor.actions.module_matching import RECURRENT, kind_of, own_attribute
from supervisor.errors import ActionError
from supervisor.policy import RedrawMethod
from supervisor.training.modules import COMPILED
from supervisor.training.norms import all_finite
from supervisor.training.optimizers import AnyOptimizer
from supervisor.training.rng import preserved_rng

__all__ = ["redraw_", "redraw_modules_", "redraw_recurrent_"]

ByTrainer = Callable[[str, nn.Module, torch.Generator], bool]
"""The trainer's own way to redraw a module; False where it has none for it."""


def redraw_modules_(
    modules: Mapping[str, nn.Module], optimizer: AnyOptimizer, method: RedrawMethod, seed: int, by_trainer: ByTrainer
) -> None:
    """Redraw modules and clear the optimizer state of exactly their parameters; the global generators stay.

    Raises:
        ActionError: one cannot be drawn afresh, or its new weights are not finite.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    with preserved_rng():
        torch.manual_seed(seed)
        for name, module in modules.items():
            if not by_trainer(name, module, generator):
                redraw_(name, module, method)
    parameters = [parameter for module in modules.values() for parameter in module.parameters()]
    # Adam's moments belong to the old weights, and a NaN in them would stay for ever.
    for parameter in parameters:
        optimizer.state.pop(parameter, None)
    if not all_finite(parameters):
        raise ActionError(f"the redrawn weights of {', '.join(modules)} are not finite")


def redraw_(name: str, module: nn.Module, method: RedrawMethod) -> None:
    """Redraw a module and all in it from the global generator.

    A module's own `reset_parameters` comes first; torch's recurrent modules are drawn by `method`. Of a parametrized
    module the plain weights are drawn, and its parametrizations take them apart.

    Raises:
        ActionError: a module in it has parameters and no way to draw them afresh.
    """
    module = getattr(module, COMPILED, module)
    if any(isinstance(hook, (WeightNorm, SpectralNorm)) for hook in module._forward_pre_hooks.values()):
        mend = "use torch.nn.utils.parametrizations"
        raise ActionError(f"{name} has its weights from a hook of torch.nn.utils, past which none are drawn: {mend}")
    if is_parametrized(module):
        _redraw_parametrized_(name, module, method)
        return
    if isinstance(module, RECURRENT) and type(module).__module__.startswith("torch."):
        redraw_recurrent_(module, method)
        return
    reset = getattr(module, "reset_parameters", None)
    if callable(reset) and own_attribute(module, "reset_parameters") is not None:
        reset()
        return
    if next(module.parameters(recurse=False), None) is not None:
        raise ActionError(f"{name} ({type(module).__name__}) has parameters and no reset_parameters(): give it one")
    for key, child in module.named_children():
        redraw_(f"{name}.{key}" if name else key, child, method)


@torch.no_grad()
def _redraw_parametrized_(name: str, module: Any, method: RedrawMethod) -> None:
    kind = kind_of(module)
    # A parametrized weight is computed on each access, so that a reset would write into a copy: give it plain ones.
    plain = kind.__new__(kind)
    vars(plain).update(vars(module))
    keys = list(module.parametrizations)
    weights = {**{key: getattr(module, key) for key in keys}, **module._parameters}
    plain._parameters = {key: None if w is None else nn.Parameter(w.detach().clone()) for key, w in weights.items()}
    plain._modules = {key: child for key, child in module._modules.items() if key != "parametrizations"}
    redraw_(name, plain, method)
    for key, weight in plain._parameters.items():
        if weight is not None and key in keys:
            setattr(module, key, weight.detach())
        elif weight is not None:
            module._parameters[key].copy_(weight)


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
