"""What modules keep beside parameters, buffers and registered state: plain attributes, taken and put back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from supervisor.training.modules import named_modules
from supervisor.training.tree import clone, comes_back

__all__ = ["ModuleAttributes"]

NOT_PLAIN = frozenset(key for key in vars(nn.Module()) if key.startswith("_"))
"""What `nn.Module` itself keeps in every module: parameters, buffers, children and hooks."""


class ModuleAttributes:
    """The plain attributes of every module of a model, as they were when this was built.

    The attribute comes back as the very object it was. What tensors, lists, dictionaries and sets hold comes back too.
    Other objects are put back as they are: what changes inside of them is theirs to register as extra state.

    Args:
        model: the model.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = [module for _, module in named_modules(model)]
        self._kept = [_kept(module) for module in self._modules]

    def put_back(self) -> None:
        """Give every module the attributes it had; those that are new are taken away."""
        for module, kept in zip(self._modules, self._kept, strict=True):
            held = vars(module)
            for key in [key for key in held if key not in NOT_PLAIN and key not in kept]:
                del held[key]
            for key, (value, content) in kept.items():
                held[key] = value
                _refill(value, content)


def _kept(module: nn.Module) -> dict[str, tuple[Any, Any]]:
    return {key: (value, _content(value)) for key, value in vars(module).items() if key not in NOT_PLAIN}


def _content(value: Any, *, through: bool | None = None) -> Any:
    """What a container holds, and what that holds in turn; None where the object itself is all there is to keep.

    What holds anything but plain values and tensors is not looked through: it may be of any size.
    """
    if isinstance(value, Tensor):
        # One with a graph, or one that is trained, is not written to in place.
        return None if value.requires_grad else clone(value)
    if type(value) is set:
        return set(value)
    if type(value) not in (list, tuple, dict):
        return None
    through = comes_back(value) if through is None else through
    held = value.values() if type(value) is dict else value
    contents = [(each, content) for each in held if through and (content := _content(each, through=True)) is not None]
    return value if type(value) is tuple else value.copy(), contents


def _refill(value: Any, content: Any) -> None:
    if content is None:
        return
    if isinstance(value, Tensor):
        if value.shape == content.shape and not torch.equal(value, content):
            with torch.no_grad():
                value.copy_(content)
    elif isinstance(value, set):
        value.clear()
        value.update(content)
    else:
        before, contents = content
        if isinstance(value, list):
            value[:] = before
        elif isinstance(value, dict):
            value.clear()
            value.update(before)
        for held, content_of_it in contents:
            _refill(held, content_of_it)
