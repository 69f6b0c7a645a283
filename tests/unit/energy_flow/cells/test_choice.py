from __future__ import annotations

from typing import get_args

import pytest
import torch

from energy_flow.cells import Gru, LayerNormGru, Lru, MinGru
from energy_flow.cells.choice import make_cell
from energy_flow.config import CellName, EnergyConfig

KINDS = {"gru": Gru, "mingru": MinGru, "layer_norm_gru": LayerNormGru, "lru": Lru}


def test_every_name_has_its_cell() -> None:
    assert set(KINDS) == set(get_args(CellName))
    assert EnergyConfig().carrier_cell == "gru"


@pytest.mark.parametrize("name", KINDS)
def test_a_cell_is_made_as_the_config_says(name: CellName) -> None:
    config = EnergyConfig(carrier_cell=name, neuron_output_dim=7, carrier_hidden_size=6, carrier_layers=3)
    cell = make_cell(config)
    assert type(cell) is KINDS[name]
    assert cell(torch.randn(2, 8))[1].shape == (3, 2, 6)


@pytest.mark.parametrize("name", ["gru", "layer_norm_gru"])
def test_hidden_weights_are_drawn_as_the_config_says(name: CellName) -> None:
    for method in ("orthogonal", "xavier"):
        cell = make_cell(EnergyConfig(carrier_cell=name, gru_initialization_method=method))
        cell.reset_parameters()
        block = cell.get_parameter("weight_hh_l0").detach()[:32]
        assert torch.allclose(block @ block.T, torch.eye(32), atol=1e-4) is (method == "orthogonal")
