"""`reinitialize`: go back to the newest good state, then draw the weights of some modules afresh."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from supervisor.actions.base import Context, Effect
from supervisor.actions.module_matching import RECURRENT, kind_of, match_modules, recurrent_modules
from supervisor.actions.recurrent_init import redraw_recurrent_
from supervisor.actions.reload_checkpoint import NO_GOOD_STATE
from supervisor.errors import ActionError
from supervisor.policy import DataAfterReload, RedrawMethod, ReinitializeRung
from supervisor.training.modules import COMPILED
from supervisor.training.norms import all_finite
from supervisor.training.rng import preserved_rng

__all__ = ["Reinitialize"]


class Reinitialize:
    """Redraws the matched modules and clears the optimizer state of exactly their parameters."""

    def __init__(self, rung: ReinitializeRung) -> None:
        self._rung = rung

    def unavailable(self, context: Context) -> str | None:
        """Without a good state, or with `modules: auto` on a model without recurrent modules."""
        if not self._modules(context):
            return "the model has no recurrent module: write `modules:` with the globs to redraw"
        return None if context.any_good_state else NO_GOOD_STATE

    def undoes_update(self) -> bool:
        """Whatever the update did is gone."""
        return True

    def apply(self, context: Context) -> Effect:
        """Restore the newest good state and redraw; the global random generators stay the good state's."""
        modules = self._modules(context)
        restored = context.restore_good_state(DataAfterReload.ADVANCE)
        seed = context.next_draw_seed()
        generator = torch.Generator().manual_seed(seed)
        with preserved_rng():
            torch.manual_seed(seed)
            for name, module in modules.items():
                if not context.reset_by_trainer(name, module, generator):
                    redraw_(name, module, self._rung.method)
        parameters = [parameter for module in modules.values() for parameter in module.parameters()]
        # Adam's moments belong to the old weights, and a NaN in them would stay for ever.
        for parameter in parameters:
            context.optimizer.state.pop(parameter, None)
        if not all_finite(parameters):
            raise ActionError(f"the redrawn weights of {', '.join(modules)} are not finite")
        return Effect(restored=restored, modules=tuple(modules))

    def _modules(self, context: Context) -> dict[str, nn.Module]:
        globs, model, blamed = self._rung.modules, context.model, context.blamed_module
        if not isinstance(globs, str):
            return match_modules(model, globs)
        return recurrent_modules(model) if blamed is None else {blamed: model.get_submodule(blamed)}


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
    if callable(reset):
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
