from __future__ import annotations

import copy
from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from energy_flow.carrier import DISPLACEMENT_LIMIT, EnergyCarrier
from energy_flow.cells import Gru
from energy_flow.config import CellName, EnergyConfig
from energy_flow.stability import initialize_gru_

OF_VERSION_0_1 = Path(__file__).parents[2] / "fixtures" / "carrier_of_version_0_1.safetensors"
"""A carrier of the version that knew of the GRU alone, seed 11, with what it was given next and what came out."""

OF_THAT_VERSION = EnergyConfig(neuron_output_dim=6, carrier_hidden_size=4, carrier_layers=2)

every_cell = pytest.mark.parametrize("cell", get_args(CellName))


@every_cell
def test_default_call_gives_energy_and_displacement(cell: CellName) -> None:
    output, hidden = EnergyCarrier(EnergyConfig(carrier_cell=cell))(torch.randn(16, 64), torch.randn(16, 1))
    assert output.shape == (16, 4)
    assert hidden.shape == (2, 16, 32)
    assert (output[:, 0].abs() <= 1.0).all()
    assert (output[:, 1:].abs() <= DISPLACEMENT_LIMIT).all()


@every_cell
def test_a_nan_that_enters_is_replaced_and_counted_once(cell: CellName) -> None:
    carrier = EnergyCarrier(EnergyConfig(carrier_cell=cell))
    neuron_output = torch.randn(16, 64)
    neuron_output[0, 0] = torch.nan
    output, hidden = carrier(neuron_output, torch.randn(16, 1))
    assert output.isfinite().all()
    assert hidden.isfinite().all()
    assert carrier.sanitized().item() == 1
    assert carrier.sanitized().item() == 0


@every_cell
def test_a_nan_acts_like_a_zero_and_an_infinity_like_the_clip_value(cell: CellName) -> None:
    carrier = EnergyCarrier(EnergyConfig(carrier_cell=cell, gru_input_clip_value=5.0))
    broken, mended, part = torch.randn(4, 64), torch.empty(4, 64), torch.randn(4, 1)
    broken[0, 0], broken[1, 1], broken[2, 2], broken[3, 3] = torch.nan, torch.inf, -torch.inf, 7.0
    mended.copy_(broken)
    mended[0, 0], mended[1, 1], mended[2, 2], mended[3, 3] = 0.0, 5.0, -5.0, 5.0
    assert torch.equal(carrier(broken, part)[0], carrier(mended, part)[0])
    assert carrier.sanitized().item() == 3, "a clamped finite value does not count"


@every_cell
def test_a_bad_hidden_state_is_replaced_too(cell: CellName) -> None:
    carrier = EnergyCarrier(EnergyConfig(carrier_cell=cell))
    hidden = torch.zeros(2, 16, 32)
    hidden[1, 3, 4] = torch.nan
    output, after = carrier(torch.randn(16, 64), torch.randn(16, 1), hidden)
    assert output.isfinite().all()
    assert after.isfinite().all()
    assert carrier.sanitized().item() == 1


@every_cell
def test_a_nan_weight_cannot_hide_behind_the_sanitiser(cell: CellName) -> None:
    inputs = torch.randn(16, 64), torch.randn(16, 1), torch.rand(2, 16, 32)
    carrier = EnergyCarrier(EnergyConfig(carrier_cell=cell))
    for name, parameter in carrier.cell.named_parameters():
        before = parameter.detach().clone()
        with torch.no_grad():
            parameter.view(-1)[0] = torch.nan
        output, hidden = carrier(*inputs)
        assert output.isfinite().all(), name
        assert hidden.isfinite().all(), name
        assert carrier.sanitized().item() > 0, name
        with torch.no_grad():
            parameter.copy_(before)
    carrier(*inputs)
    assert carrier.sanitized().item() == 0


@every_cell
def test_an_infinite_displacement_is_counted_before_it_is_limited(cell: CellName) -> None:
    carrier = EnergyCarrier(EnergyConfig(carrier_cell=cell))
    with torch.no_grad():
        carrier.displacement_head[-1].bias[0] = torch.inf
    output, _ = carrier(torch.randn(16, 64), torch.randn(16, 1))
    assert output[:, 1].tolist() == [DISPLACEMENT_LIMIT] * 16
    assert carrier.sanitized().item() == 16


@every_cell
def test_without_protection_the_nan_stays_visible(cell: CellName) -> None:
    carrier = EnergyCarrier(EnergyConfig(carrier_cell=cell, enable_gru_nan_protection=False))
    neuron_output = torch.randn(16, 64)
    neuron_output[0, 0] = torch.nan
    output, _ = carrier(neuron_output, torch.randn(16, 1))
    assert output[0].isnan().all()
    assert output[1:].isfinite().all()
    assert carrier.sanitized().item() == 0


@pytest.mark.parametrize(("watch", "expected"), [(True, 2), (False, 0)])
def test_extreme_values_are_counted_apart_where_asked_for(watch: bool, expected: int) -> None:
    carrier = EnergyCarrier(EnergyConfig(log_extreme_values=watch, extreme_value_threshold=50.0))
    neuron_output = torch.zeros(3, 64)
    neuron_output[0, 0], neuron_output[1, 1], neuron_output[2, 2] = 51.0, -51.0, 49.0
    carrier(neuron_output, torch.zeros(3, 1))
    assert carrier.extremes().item() == expected
    assert carrier.sanitized().item() == 0


@every_cell
def test_what_was_counted_is_no_part_of_the_state(cell: CellName) -> None:
    carrier = EnergyCarrier(EnergyConfig(carrier_cell=cell))
    before = copy.deepcopy(carrier.state_dict())
    carrier(torch.full((2, 64), torch.nan), torch.zeros(2, 1))
    carrier.load_state_dict(before)
    assert list(carrier.buffers()) == []
    assert carrier.sanitized().item() == 128


@every_cell
def test_a_fresh_carrier_moves_outward_far_enough_to_arrive(cell: CellName) -> None:
    for depth in (4, 8, 40):
        config = EnergyConfig(carrier_cell=cell, lattice_depth=depth)
        output, _ = EnergyCarrier(config)(torch.zeros(1, 64), torch.zeros(1, 1))
        assert output[0, 3].item() * config.steps > 0.9
        assert output[0, 1:3].abs().max().item() < 0.1


@every_cell
def test_resetting_redraws_everything_from_the_generator(cell: CellName) -> None:
    first, second = (EnergyCarrier(EnergyConfig(carrier_cell=cell)) for _ in range(2))
    assert not torch.equal(first.cell.weight_ih_l0, second.cell.weight_ih_l0)
    before = torch.get_rng_state()
    for carrier in (first, second):
        carrier.reset_parameters(torch.Generator().manual_seed(5))
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_cell_is_found_under_its_own_name() -> None:
    carrier = EnergyCarrier()
    assert carrier.cell is carrier.gru
    assert isinstance(carrier.gru, nn.GRU)
    assert carrier.gru.bias_hh_l1[32:64].tolist() == [1.0] * 32
    other = EnergyCarrier(EnergyConfig(carrier_cell="lru"))
    assert other.cell is other.lru
    assert not hasattr(other, "gru")


def test_a_carrier_of_the_version_before_the_other_cells_goes_on_as_it_did() -> None:
    held = load_file(OF_VERSION_0_1)
    carrier = EnergyCarrier(OF_THAT_VERSION)
    carrier.load_state_dict({k.removeprefix("carrier."): v for k, v in held.items() if k.startswith("carrier.")})
    output, after = carrier(held["neuron_output"], held["part"], held["hidden"])
    torch.testing.assert_close(output, held["output"])
    torch.testing.assert_close(after, held["after"])


def test_a_gru_draws_what_it_drew_in_that_version() -> None:
    """Everything in the order of that version, from the global generator; and what is drawn after it, too."""
    torch.manual_seed(11)
    gru = nn.GRU(7, 4, 2)
    energy = nn.Sequential(nn.Linear(4, 2), nn.GELU(), nn.Linear(2, 1), nn.Tanh())
    displacement = nn.Sequential(nn.Linear(4, 64), nn.GELU(), nn.Linear(64, 3))
    initialize_gru_(gru)
    for layer in (energy[0], energy[2], displacement[0], displacement[2]):
        nn.init.xavier_uniform_(layer.weight)
    after = torch.randn(3, 6)
    torch.manual_seed(11)
    carrier = EnergyCarrier(OF_THAT_VERSION)
    assert torch.equal(torch.randn(3, 6), after)
    assert torch.equal(carrier.energy_head[2].weight, energy[2].weight)
    for name, parameter in gru.named_parameters():
        assert torch.equal(carrier.gru.get_parameter(name), parameter), name
    held = load_file(OF_VERSION_0_1)
    torch.testing.assert_close(after, held["neuron_output"])
    assert carrier.state_dict().keys() == {k.removeprefix("carrier.") for k in held if k.startswith("carrier.")}
    for name, value in carrier.state_dict().items():
        torch.testing.assert_close(value, held[f"carrier.{name}"])


def test_the_gru_gives_what_torchs_own_gives_bit_for_bit() -> None:
    carrier, plain = Gru(7, 4, 2), nn.GRU(7, 4, 2)
    plain.load_state_dict(carrier.state_dict())
    inputs, hidden = torch.randn(3, 7), torch.randn(2, 3, 4)
    _, expected = plain(inputs.unsqueeze(0), hidden)
    output, after = carrier(inputs, hidden)
    assert torch.equal(after, expected)
    assert torch.equal(output, expected[-1])


def test_displacements_are_clamped() -> None:
    carrier = EnergyCarrier(EnergyConfig())
    with torch.no_grad():
        carrier.displacement_head[-1].bias.copy_(torch.tensor([9.0, -9.0, 0.1]))
    output, _ = carrier(torch.randn(2, 64), torch.randn(2, 1))
    assert output[:, 1].tolist() == [DISPLACEMENT_LIMIT] * 2
    assert output[:, 2].tolist() == [-DISPLACEMENT_LIMIT] * 2
