"""From a config to the cell that it names."""

from __future__ import annotations

from energy_flow.cells.base import CarrierCell
from energy_flow.cells.gru import Gru
from energy_flow.cells.layer_norm_gru import LayerNormGru
from energy_flow.cells.lru import Lru
from energy_flow.cells.mingru import MinGru
from energy_flow.config import EnergyConfig

__all__ = ["make_cell"]


def make_cell(config: EnergyConfig) -> CarrierCell:
    """A cell drawn from the global generator, which reads a neuron's output and the flow's part of the embedding."""
    entering = config.neuron_output_dim + config.embedding_part_dim
    hidden, layers = config.carrier_hidden_size, config.carrier_layers
    match config.carrier_cell:
        case "gru":
            return Gru(entering, hidden, layers, config.gru_initialization_method)
        case "layer_norm_gru":
            return LayerNormGru(entering, hidden, layers, config.gru_initialization_method)
        case "mingru":
            return MinGru(entering, hidden, layers)
        case "lru":
            return Lru(entering, hidden, layers)
