"""Between embeddings and the energies of the surface cells, both ways.

Shape suffixes: B batch, E embedding elements, S surface cells.
"""

from __future__ import annotations

from torch import Tensor, nn

from energy_flow.config import EnergyConfig

__all__ = ["SurfaceDecoder", "SurfaceEncoder"]


class SurfaceEncoder(nn.Module):
    """Embedding [B, E] to starting energies [B, S] in (-1, 1)."""

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__()
        embedding, cells = config.embedding_dim, config.surface_cells
        wide = max(embedding, 2 * cells)
        self.layers = nn.Sequential(
            nn.Linear(embedding, wide),
            nn.LayerNorm(wide),
            nn.GELU(),
            nn.Linear(wide, 2 * cells),
            nn.LayerNorm(2 * cells),
            nn.GELU(),
            nn.Linear(2 * cells, cells),
            nn.Tanh(),
        )

    def forward(self, embedding_BE: Tensor) -> Tensor:
        """Spread an embedding [B, E] over the cells [B, S]."""
        energy_BS: Tensor = self.layers(embedding_BE)
        return energy_BS


class SurfaceDecoder(nn.Module):
    """Collected surface [B, S] to embedding [B, E]: the encoder's mirror, unbounded."""

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__()
        embedding, cells = config.embedding_dim, config.surface_cells
        wide = max(embedding, 2 * cells)
        self.layers = nn.Sequential(
            nn.Linear(cells, 2 * cells),
            nn.LayerNorm(2 * cells),
            nn.GELU(),
            nn.Linear(2 * cells, wide),
            nn.LayerNorm(wide),
            nn.GELU(),
            nn.Linear(wide, embedding),
        )
        # Elements of a unit vector are this small. Without the factor the first predictions are several times too
        # long, and the first steps of Adam, which move every weight alike, make them longer still.
        self.scale = embedding**-0.5

    def forward(self, surface_BS: Tensor) -> Tensor:
        """Read an embedding [B, E] off the surface [B, S]."""
        embedding_BE: Tensor = self.layers(surface_BS) * self.scale
        return embedding_BE
