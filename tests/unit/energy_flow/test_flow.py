from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from energy_flow import flow
from energy_flow.carrier import EnergyCarrier
from energy_flow.config import EnergyConfig
from energy_flow.energy_trainer import EnergyTrainer
from energy_flow.flow import FlowState
from energy_flow.neuron import Neuron

SIZES = [(8, 8, 8), (8, 8, 20), (16, 16, 40)]


def first_gradient_norms(size: tuple[int, int, int], steps: int, **config: Any) -> list[float]:
    """Total gradient norms, before clipping, of a fresh trainer's first steps on two pairs."""
    width, height, depth = size
    trainer = EnergyTrainer.from_config(
        {"lattice_width": width, "lattice_height": height, "lattice_depth": depth, "batch_size": 2, **config}, seed=0
    )
    norms = []
    for _, batch in zip(range(steps), trainer.data, strict=False):
        trainer.loss(batch).backward()
        gradients = [parameter.grad for parameter in trainer.model.parameters() if parameter.grad is not None]
        norms.append(torch.nn.utils.get_total_norm(gradients).item())
        trainer.optimizer.step()
        trainer.optimizer.zero_grad()
    return norms


@pytest.mark.parametrize("size", SIZES)
def test_gradients_stay_small_however_many_flows_and_steps(size: tuple[int, int, int]) -> None:
    assert max(first_gradient_norms(size, steps=3)) < 100.0


@pytest.mark.parametrize("size", SIZES)
def test_a_mask_that_became_integers_would_be_noticed(
    size: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure of the model before this one: `~` on Python booleans, `~True == -2` and `~False == -1`.

    The mask then picks rows by number, all flows the same two, and writes them back over one another. Autograd
    gives each of the duplicates the whole gradient, so every step multiplies it by the number of flows.
    """
    right_step = flow.step

    def wrong_step(state: FlowState, *modules: Any, noise: float) -> tuple[FlowState, Tensor, Tensor]:
        rows = torch.tensor([~int(active) for active in (state.alive_F1 & ~state.arrived_F1).flatten().tolist()])
        picked = state._replace(
            position_F3=state.position_F3[rows],
            energy_F1=state.energy_F1[rows],
            hidden_LFh=state.hidden_LFh[:, rows],
        )
        moved, displacement_F3, active_F1 = right_step(picked, *modules, noise=noise)
        hidden_FLh = state.hidden_LFh.transpose(0, 1).index_put((rows,), moved.hidden_LFh.transpose(0, 1))
        written = moved._replace(
            position_F3=state.position_F3.index_put((rows,), moved.position_F3),
            energy_F1=state.energy_F1.index_put((rows,), moved.energy_F1),
            hidden_LFh=hidden_FLh.transpose(0, 1).contiguous(),
        )
        return written, displacement_F3, active_F1

    monkeypatch.setattr(flow, "step", wrong_step)
    (norm,) = first_gradient_norms(size, steps=1, max_spawned_flows=0)
    assert not norm < 1000.0


def travelled(config: EnergyConfig, batch: int, *, training: bool = False) -> FlowState:
    energy_BS = torch.rand(batch, config.surface_cells) * 2 - 1
    return flow.travel(energy_BS, Neuron(config), EnergyCarrier(config), config, training=training)


def test_fresh_flows_reach_a_plane_by_themselves_and_stop_there() -> None:
    state = travelled(EnergyConfig(max_spawned_flows=0), 3)
    arrived = state.arrived_F1.flatten()
    assert arrived.float().mean().item() > 0.9
    assert state.position_F3[arrived, 2].abs().tolist() == [1.0] * int(arrived.sum())
    assert (state.steps_F1[arrived] <= 4).all()


def test_flows_that_do_not_drift_do_not_arrive() -> None:
    state = travelled(EnergyConfig(outward_travel=0.0, max_spawned_flows=0), 3)
    assert state.arrived_F1.float().mean().item() < 0.1
    assert (state.steps_F1 == 4).sum().item() > 150


def test_a_flow_that_has_arrived_changes_no_more() -> None:
    config = EnergyConfig(max_spawned_flows=0)
    state = flow.start(torch.rand(1, 64), config)
    state = state._replace(arrived_F1=torch.arange(64).unsqueeze(1) % 2 == 0)
    moved, _, active_F1 = flow.step(state, Neuron(config), EnergyCarrier(config), noise=0.0)
    still = state.arrived_F1.flatten()
    assert torch.equal(active_F1.flatten(), ~still)
    assert torch.equal(moved.position_F3[still], state.position_F3[still])
    assert torch.equal(moved.energy_F1[still], state.energy_F1[still])
    assert torch.equal(moved.hidden_LFh[:, still], state.hidden_LFh[:, still])
    assert moved.steps_F1.flatten().tolist() == (~still).float().tolist()
    assert (moved.position_F3[~still] != state.position_F3[~still]).any(dim=1).all()


def test_a_flow_carries_the_part_of_its_own_cell() -> None:
    config = EnergyConfig(lattice_width=2, lattice_height=2, embedding_part_dim=3, max_spawned_flows=1)
    surface_BS = torch.arange(24.0).reshape(2, 12)
    state = flow.start(surface_BS, config)
    assert state.part_FC.shape == (10, 3)
    assert state.part_FC[6].tolist() == [15.0, 16.0, 17.0]
    assert state.energy_F1.flatten().tolist() == state.part_FC[:, 0].tolist()
    assert state.part_FC[4].tolist() == [0.0, 0.0, 0.0]


def test_a_spawned_flow_is_its_parent_mirrored() -> None:
    config = EnergyConfig(lattice_width=2, lattice_height=2, max_spawned_flows=2, spawn_movement_threshold=0.3)
    state = flow.start(torch.tensor([[0.1, 0.2, 0.3, 0.4]]), config)
    state = state._replace(hidden_LFh=torch.randn_like(state.hidden_LFh))
    displacement_F3 = torch.zeros(6, 3)
    displacement_F3[1] = torch.tensor([0.2, -0.1, 0.3])
    before_F3 = state.position_F3
    state = state._replace(position_F3=before_F3 + displacement_F3)
    after = flow.spawn(state, before_F3, displacement_F3, state.alive_F1, config)

    assert after.alive_F1.flatten().tolist() == [True] * 5 + [False]
    assert after.spawned_B.tolist() == [1]
    torch.testing.assert_close(after.position_F3[4], before_F3[1] + torch.tensor([-0.2, 0.1, 0.3]))
    assert after.energy_F1[4].item() == state.energy_F1[1].item()
    assert torch.equal(after.part_FC[4], state.part_FC[1])
    assert torch.equal(after.hidden_LFh[:, 4], state.hidden_LFh[:, 1])
    assert torch.equal(after.position_F3[:4], state.position_F3[:4])


def test_spawning_happens_on_the_way_and_keeps_to_its_cap() -> None:
    config = EnergyConfig(spawn_movement_threshold=0.1, max_spawned_flows=5)
    state = travelled(config, 3, training=True)
    assert state.spawned_B.tolist() == [5, 5, 5]
    assert state.alive_F1.reshape(3, -1).sum(dim=1).tolist() == [69, 69, 69]
