"""EnergyFlow: embedding in, embedding out, by way of flows through the lattice.

Shape suffixes: B batch, E embedding elements, S surface cells, F flows.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from energy_flow.carrier import EnergyCarrier
from energy_flow.collector import collect
from energy_flow.config import EnergyConfig
from energy_flow.flow import FlowState, travel
from energy_flow.lattice import quantise
from energy_flow.neuron import Neuron
from energy_flow.surface import SurfaceDecoder, SurfaceEncoder

__all__ = ["EnergyFlow", "EnergyFlowOutput"]


class EnergyFlowOutput(NamedTuple):
    """What a forward pass gives.

    Attributes:
        answer_BE: predicted answer embeddings, not normalised [B, E].
        shortfall: mean distance to the nearest plane that flows were short of at the end, 0-dimensional, with
            gradient: 0 when all arrived, 1 when none left the centre plane.
        arrived: share of the flows that reached a plane by themselves, 0-dimensional.
    """

    answer_BE: Tensor
    shortfall: Tensor
    arrived: Tensor


class EnergyFlow(nn.Module):
    """The whole model. Any batch size; everything it creates is on its input's device.

    Args:
        config: the model's configuration; the `small` preset's sizes when None.
        generator: CPU generator for the carrier's weights; the other layers draw from the global one.
    """

    def __init__(self, config: EnergyConfig | None = None, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config = config or EnergyConfig()
        self.encoder = SurfaceEncoder(config)
        self.neuron = Neuron(config)
        self.carrier = EnergyCarrier(config, generator)
        self.decoder = SurfaceDecoder(config)
        more = config.embedding_part_dim - 1
        self.unload = nn.Linear(config.carrier_hidden_size, more) if more else None

    def forward(self, question_BE: Tensor) -> EnergyFlowOutput:
        """Predict answer embeddings.

        Args:
            question_BE: question embeddings [B, E].

        In training mode the flows explore: their displacements get noise from the global generator.
        """
        config = self.config
        energy_BS = self.encoder(question_BE).to(question_BE.dtype)
        state = travel(energy_BS, self.neuron, self.carrier, config, training=self.training)
        distance_F1 = 1.0 - state.position_F3[:, 2:].abs()
        surface_BS = collect(
            quantise(state.position_F3, config.lattice_width, config.lattice_height),
            state.energy_F1,
            distance_F1,
            state.steps_F1,
            state.alive_F1,
            batch=len(question_BE),
            cells=config.surface_cells,
            brought_FC=self._brought(state),
        )
        flows = state.alive_F1.sum()
        return EnergyFlowOutput(
            answer_BE=self.decoder(surface_BS).to(question_BE.dtype),
            shortfall=torch.where(state.alive_F1, distance_F1, 0.0).sum() / flows,
            arrived=(state.arrived_F1 & state.alive_F1).sum() / flows,
        )

    def _brought(self, state: FlowState) -> Tensor:
        """What the flows bring to the surface [F, C]: their energy, and what the carrier remembers of them."""
        if self.unload is None:
            return state.energy_F1
        return torch.cat((state.energy_F1, self.unload(state.hidden_LFh[-1]).to(state.energy_F1.dtype)), dim=1)
