"""Between embeddings and what the surface cells hold, both ways.

Shape suffixes: B batch, E embedding elements, S surface cells, C numbers a cell.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from energy_flow.config import EnergyConfig

__all__ = ["SurfaceDecoder", "SurfaceEncoder"]


def _layers(sizes: list[int]) -> list[nn.Module]:
    """Linear layers from size to size, with LayerNorm and GELU between them."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        linear = nn.Linear(before, after)
        # Lengths and angles pass through. After 200 steps a model gives back 53 % of the variance of unseen questions
        # with these weights, and 43 % with those that torch draws.
        nn.init.orthogonal_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [nn.LayerNorm(before), nn.GELU(), linear] if layers else [linear]
    return layers


def _sizes(config: EnergyConfig) -> list[int]:
    """Widths from the embedding to the surface.

    A surface of single energies is narrow, so the way to it narrows in two layers. One with more numbers a cell is
    about as wide as the embedding; a second hidden layer there only made the model slower to learn.
    """
    wide = max(config.embedding_dim, 2 * config.surface_cells)
    narrow = [2 * config.surface_cells] if config.embedding_part_dim == 1 else []
    return [config.embedding_dim, wide, *narrow, config.surface_size]


class SurfaceEncoder(nn.Module):
    """Embedding [B, E] to what each cell starts with [B, S·C], in (-1, 1)."""

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_layers(_sizes(config)), nn.Tanh())

    def forward(self, embedding_BE: Tensor) -> Tensor:
        """Spread an embedding [B, E] over the cells [B, S·C]."""
        energy_BS: Tensor = self.layers(embedding_BE)
        return energy_BS


class SurfaceDecoder(nn.Module):
    """Collected surface [B, S·C] to embedding [B, E]: the encoder's mirror, unbounded."""

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_layers(_sizes(config)[::-1]))
        # Elements of a unit vector are this small. Without the factor the first predictions are several times too
        # long, and the first steps of Adam, which move every weight alike, make them longer still.
        self.scale = config.embedding_dim**-0.5

    def start_at(self, embedding_E: Tensor) -> None:
        """Make a fresh decoder's answers lie around this embedding [E]; in place."""
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(0.5)
            last.bias.copy_(embedding_E / self.scale)

    def forward(self, surface_BS: Tensor) -> Tensor:
        """Read an embedding [B, E] off the surface [B, S·C]."""
        embedding_BE: Tensor = self.layers(surface_BS) * self.scale
        return embedding_BE
