"""At what scale the weight matrices of a model were drawn."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from supervisor.training.modules import named_modules

__all__ = ["owners", "weight_scales"]

EXEMPT = (nn.Embedding, nn.EmbeddingBag, ParametrizationList)
"""Modules whose weights no sum over their inputs runs through."""

FEWEST = 16
"""Elements from which a standard deviation says anything."""


@torch.no_grad()
def weight_scales(model: nn.Module) -> dict[str, float]:
    """Standard deviation times the root of the fan-in, of every weight with two or more dimensions, by name.

    Embeddings are left out: no sum runs over their rows. So are the parts that parametrizations keep of a weight, and
    what is frozen, since it was not drawn here.
    """
    modules = named_modules(model)
    # An output layer may share the weights of an embedding.
    seen = {id(weight) for _, module in modules if isinstance(module, EXEMPT) for weight in module.parameters()}
    scales = dict[str, torch.Tensor]()
    for prefix, module in modules:
        for key, weight in module._parameters.items():
            if weight is None or id(weight) in seen:
                continue
            seen.add(id(weight))
            if weight.dim() < 2 or not weight.requires_grad or not weight.is_floating_point():
                continue
            if weight.layout is torch.strided and weight.numel() >= FEWEST:
                fan_in = weight.numel() / weight.shape[0]
                scales[f"{prefix}.{key}" if prefix else key] = weight.float().std() * math.sqrt(fan_in)
    return {name: float(scale) for name, scale in scales.items()}


def owners(names: list[str]) -> tuple[str, ...]:
    """The modules that hold these parameters, each once."""
    return tuple(dict.fromkeys(name.rpartition(".")[0] for name in names))
