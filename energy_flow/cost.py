"""How long a training step will take on a CPU, told from the configuration alone."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from energy_flow.config import CellName, EnergyConfig

__all__ = ["cpu_seconds", "flow_step_multiplications"]

MULTIPLICATIONS_A_SECOND = 40e9
"""What one thread of a server CPU does of them, in float32, the other work of a step included. Chosen on the presets
`debug` and `experiment`: estimated 0.44 s and 5.2 s, measured 0.52 s and 5.2 s (docs/energy_flow.md)."""

PRODUCTS: Mapping[CellName, tuple[int, int]] = MappingProxyType(
    {"gru": (3, 3), "layer_norm_gru": (3, 3), "mingru": (2, 0), "lru": (1, 1)}
)
"""How many matrices of h rows a layer of each cell multiplies what it reads with, and how many its state."""


def flow_step_multiplications(config: EnergyConfig) -> int:
    """Multiplications to move one flow by one step: neuron, recurrent layers and heads."""
    hidden, neuron = config.carrier_hidden_size, config.neuron_hidden_dim
    # What the layers read, one after the other: the flow, then each the one below it.
    read = config.neuron_output_dim + config.embedding_part_dim + (config.carrier_layers - 1) * hidden
    of_input, of_state = PRODUCTS[config.carrier_cell]
    recurrent = hidden * (of_input * read + of_state * config.carrier_layers * hidden)
    heads = hidden * (hidden // 2) + hidden // 2 + 64 * (hidden + 3)
    return neuron * (4 + neuron + config.neuron_output_dim) + recurrent + heads


def cpu_seconds(config: EnergyConfig, batch_size: int, threads: int) -> float:
    """Roughly the seconds of a training step: forward once, and twice as much backward.

    Only the flows are counted. A small model takes longer than this, since its steps are bound by the number of calls.
    """
    flow_steps = batch_size * config.flow_slots * config.steps
    return 3 * flow_steps * flow_step_multiplications(config) / (MULTIPLICATIONS_A_SECOND * max(threads, 1))
