"""The neuron: one small network that all cells of the lattice share.

Shape suffixes: F flows, P elements of the neuron's output.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from energy_flow.config import EnergyConfig

__all__ = ["Neuron"]


class Neuron(nn.Module):
    """Turns where a flow is, and how much energy it has, into what the carrier reads."""

    def __init__(self, config: EnergyConfig | None = None) -> None:
        super().__init__()
        config = config or EnergyConfig()
        hidden = config.neuron_hidden_dim
        self.layers = nn.Sequential(
            nn.Linear(4, hidden),
            nn.LayerNorm(hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.LayerNorm(hidden),
            nn.GELU(),
            nn.Linear(hidden, config.neuron_output_dim),
        )

    def forward(self, position_F3: Tensor, energy_F1: Tensor) -> Tensor:
        """Read the cell that a flow is in.

        Args:
            position_F3: normalised coordinates [F, 3].
            energy_F1: energy [F, 1].

        Returns:
            Neuron output [F, neuron_output_dim].
        """
        output_FP: Tensor = self.layers(torch.cat((position_F3, energy_F1), dim=1))
        return output_FP
