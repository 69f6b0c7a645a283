"""The neuron: one network for every flow, wherever it is."""

from __future__ import annotations

import torch

from energy_flow.config import EnergyConfig
from energy_flow.neuron import Neuron


def test_it_has_the_width_that_the_config_says() -> None:
    neuron = Neuron(EnergyConfig(neuron_hidden_dim=5, neuron_output_dim=7))
    assert neuron(torch.zeros(3, 3), torch.zeros(3, 1)).shape == (3, 7)
    assert neuron.layers[0].weight.shape == (5, 4)


def test_every_flow_is_read_by_itself_and_by_the_same_weights() -> None:
    neuron, position_F3, energy_F1 = Neuron(), torch.rand(6, 3), torch.rand(6, 1)
    together = neuron(position_F3, energy_F1)
    alone = torch.cat([neuron(position_F3[i : i + 1], energy_F1[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(together, alone)


def test_place_and_energy_both_count() -> None:
    neuron, position_F3, energy_F1 = Neuron(), torch.rand(2, 3), torch.rand(2, 1)
    position_F3.requires_grad_()
    energy_F1.requires_grad_()
    neuron(position_F3, energy_F1).square().sum().backward()
    for given in (position_F3, energy_F1):
        assert given.grad is not None
        assert (given.grad != 0).all()
