"""The estimate of a step's time on a CPU."""

from __future__ import annotations

from typing import get_args

import pytest

from energy_flow.carrier import EnergyCarrier
from energy_flow.config import CellName, EnergyConfig
from energy_flow.cost import cpu_seconds, flow_step_multiplications
from energy_flow.neuron import Neuron


@pytest.mark.parametrize("cell", get_args(CellName))
@pytest.mark.parametrize("layers", [1, 3])
def test_every_weight_matrix_that_a_flow_meets_multiplies_once(layers: int, cell: CellName) -> None:
    config = EnergyConfig(
        carrier_cell=cell, carrier_layers=layers, carrier_hidden_size=48, embedding_part_dim=5, neuron_output_dim=20
    )
    modules = (Neuron(config), EnergyCarrier(config))
    weights = [parameter for module in modules for parameter in module.parameters() if parameter.dim() > 1]
    assert flow_step_multiplications(config) == sum(weight.numel() for weight in weights)


def test_twice_the_batch_or_half_the_threads_take_twice_as_long() -> None:
    config = EnergyConfig()
    once = cpu_seconds(config, 8, 2)
    assert cpu_seconds(config, 16, 2) == pytest.approx(2 * once)
    assert cpu_seconds(config, 8, 1) == pytest.approx(2 * once)


def test_only_the_larger_presets_take_seconds_on_a_cpu() -> None:
    assert cpu_seconds(EnergyConfig.preset("small"), 32, 1) < 0.1
    assert cpu_seconds(EnergyConfig.preset("debug"), 32, 1) > 1.0
    assert cpu_seconds(EnergyConfig.preset("experiment"), 1, 1) > 1.0
