"""The journey of all flows at once: from the centre plane, through the lattice, to a surface plane.

All values of a flow lie in row f = b · N + n of flat tensors, so that one call of a shared module moves every
flow of the batch, and a spawned flow is a copied row.

Shape suffixes: B batch, N flow slots a sample, F = B·N flows, S surface cells, C numbers a cell, L layers, h hidden
size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from energy_flow.carrier import EnergyCarrier
from energy_flow.config import EnergyConfig
from energy_flow.lattice import cell_centres, move
from energy_flow.neuron import Neuron
from energy_flow.spawning import choose_parents

__all__ = ["FlowState", "keep_active", "spawn", "start", "step", "travel"]


class FlowState(NamedTuple):
    """Everything about the flows of one batch. It lives for one forward pass.

    Attributes:
        position_F3: normalised coordinates.
        energy_F1: energy in (-1, 1).
        part_FC: the part of the embedding the flow carries: its cell's starting energy, and C - 1 numbers more.
        hidden_LFh: hidden state of the carrier's cell; that of its last step once a flow has arrived.
        steps_F1: time steps travelled, as a float.
        arrived_F1: whether it reached a plane by itself.
        alive_F1: False for spawn slots that are not in use.
        spawned_B: spawn slots in use in each sample.
    """

    position_F3: Tensor
    energy_F1: Tensor
    part_FC: Tensor
    hidden_LFh: Tensor
    steps_F1: Tensor
    arrived_F1: Tensor
    alive_F1: Tensor
    spawned_B: Tensor


def keep_active(active_F1: Tensor, moved_Fx: Tensor, before_Fx: Tensor) -> Tensor:
    """The new row [..., F, x] where a flow is still on its way, the old one where it is not."""
    return torch.where(active_F1, moved_Fx, before_Fx)


def start(energy_BS: Tensor, config: EnergyConfig) -> FlowState:
    """One flow a cell on the centre plane z = 0, with the cell's part, and empty spawn slots after them.

    Args:
        energy_BS: what the encoder spread over the cells [B, S·C], cell by cell; of each cell's C numbers the first is
            its energy.
        config: sizes.
    """
    batch, cells, room = len(energy_BS), config.surface_cells, config.max_spawned_flows
    part_BSC = energy_BS.reshape(batch, cells, -1)
    part_FC = torch.nn.functional.pad(part_BSC, (0, 0, 0, room)).flatten(0, 1)
    energy_F1 = part_FC[:, :1]
    centre_S2 = cell_centres(config.lattice_width, config.lattice_height, energy_BS.device)
    position_N3 = torch.nn.functional.pad(centre_S2.to(energy_BS.dtype), (0, 1, 0, room))
    alive_N1 = torch.arange(cells + room, device=energy_BS.device).unsqueeze(1) < cells
    return FlowState(
        position_F3=position_N3.repeat(batch, 1),
        energy_F1=energy_F1,
        part_FC=part_FC,
        hidden_LFh=energy_BS.new_zeros(config.carrier_layers, len(energy_F1), config.carrier_hidden_size),
        steps_F1=torch.zeros_like(energy_F1),
        arrived_F1=torch.zeros_like(energy_F1, dtype=torch.bool),
        alive_F1=alive_N1.repeat(batch, 1),
        spawned_B=torch.zeros(batch, dtype=torch.int64, device=energy_BS.device),
    )


def step(state: FlowState, neuron: Neuron, carrier: EnergyCarrier, *, noise: float) -> tuple[FlowState, Tensor, Tensor]:
    """Move every flow that is still on its way by one time step.

    Args:
        state: where the flows are.
        neuron: the shared neuron.
        carrier: the shared carrier.
        noise: standard deviation of what is added to each displacement; drawn from the global generator.

    Returns:
        The flows after the step; their displacement [F, 3]; and which of them moved, bool [F, 1].
    """
    active_F1 = state.alive_F1 & ~state.arrived_F1
    output_F4, hidden_LFh = carrier(neuron(state.position_F3, state.energy_F1), state.part_FC, state.hidden_LFh)
    # Positions stay in the dtype they started in: half precision would move a flow by whole cells.
    energy_F1, displacement_F3 = torch.split(output_F4.to(state.position_F3.dtype), [1, 3], dim=1)
    if noise > 0:
        displacement_F3 = displacement_F3 + noise * torch.randn_like(displacement_F3)
    position_F3 = keep_active(active_F1, move(state.position_F3, displacement_F3), state.position_F3)
    moved = state._replace(
        position_F3=position_F3,
        energy_F1=keep_active(active_F1, energy_F1, state.energy_F1),
        hidden_LFh=keep_active(active_F1, hidden_LFh.to(state.hidden_LFh.dtype), state.hidden_LFh),
        steps_F1=state.steps_F1 + active_F1,
        arrived_F1=state.arrived_F1 | (active_F1 & (position_F3[:, 2:].abs() >= 1.0)),
    )
    return moved, displacement_F3, active_F1


def spawn(
    state: FlowState, before_F3: Tensor, displacement_F3: Tensor, active_F1: Tensor, config: EnergyConfig
) -> FlowState:
    """Let flows that moved far spawn others.

    The new flow leaves from where its parent was, with everything the parent has, and makes the same step
    mirrored in X and Y.

    Args:
        state: the flows after a step.
        before_F3: where they were before it [F, 3].
        displacement_F3: the step itself [F, 3].
        active_F1: which of them moved [F, 1].
        config: threshold and cap.
    """
    batch = len(state.spawned_B)
    movement_BN = displacement_F3.detach().norm(dim=1).reshape(batch, -1)
    eligible_BN = active_F1.reshape(batch, -1) & (movement_BN > config.spawn_movement_threshold)
    source_BN, born_BN = choose_parents(movement_BN, eligible_BN, state.spawned_B, config.max_spawned_flows)

    first_B1 = torch.arange(batch, device=source_BN.device).unsqueeze(1) * source_BN.shape[1]
    source_F, born_F1 = (source_BN + first_B1).flatten(), born_BN.reshape(-1, 1)
    mirrored_F3 = move(before_F3, torch.cat((-displacement_F3[:, :2], displacement_F3[:, 2:]), dim=1))
    position_F3 = torch.where(born_F1, mirrored_F3[source_F], state.position_F3)
    return FlowState(
        position_F3=position_F3,
        energy_F1=state.energy_F1[source_F],
        part_FC=state.part_FC[source_F],
        hidden_LFh=state.hidden_LFh.index_select(1, source_F),
        steps_F1=state.steps_F1[source_F],
        arrived_F1=torch.where(born_F1, position_F3[:, 2:].abs() >= 1.0, state.arrived_F1),
        alive_F1=state.alive_F1 | born_F1,
        spawned_B=state.spawned_B + born_BN.sum(dim=1),
    )


def travel(
    energy_BS: Tensor, neuron: Neuron, carrier: EnergyCarrier, config: EnergyConfig, *, training: bool
) -> FlowState:
    """Let the flows of a batch travel for `config.steps` steps.

    Args:
        energy_BS: what each cell starts with [B, S·C], as in `start`; the flows live on its device.
        neuron: the shared neuron.
        carrier: the shared carrier.
        config: sizes and movement.
        training: whether displacements get exploration noise.
    """
    state = start(energy_BS, config)
    noise = config.exploration_noise if training else 0.0
    for number in range(config.steps):
        before_F3 = state.position_F3
        state, displacement_F3, active_F1 = step(state, neuron, carrier, noise=noise)
        # A flow spawned in the last step would have no step of its own.
        if config.max_spawned_flows > 0 and number < config.steps - 1:
            state = spawn(state, before_F3, displacement_F3, active_F1, config)
    return state
