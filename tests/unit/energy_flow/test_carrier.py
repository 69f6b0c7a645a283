from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from energy_flow.carrier import DISPLACEMENT_LIMIT, EnergyCarrier
from energy_flow.config import EnergyConfig


def test_default_call_gives_energy_and_displacement() -> None:
    output, hidden = EnergyCarrier()(torch.randn(16, 64), torch.randn(16, 1))
    assert output.shape == (16, 4)
    assert hidden.shape == (2, 16, 32)
    assert (output[:, 0].abs() <= 1.0).all()
    assert (output[:, 1:].abs() <= DISPLACEMENT_LIMIT).all()


def test_a_nan_that_enters_is_replaced_and_counted_once() -> None:
    carrier = EnergyCarrier()
    neuron_output = torch.randn(16, 64)
    neuron_output[0, 0] = torch.nan
    output, hidden = carrier(neuron_output, torch.randn(16, 1))
    assert output.isfinite().all()
    assert hidden.isfinite().all()
    assert carrier.sanitized().item() == 1
    assert carrier.sanitized().item() == 0


def test_a_nan_acts_like_a_zero_and_an_infinity_like_the_clip_value() -> None:
    carrier = EnergyCarrier(EnergyConfig(gru_input_clip_value=5.0))
    broken, mended, part = torch.randn(4, 64), torch.empty(4, 64), torch.randn(4, 1)
    broken[0, 0], broken[1, 1], broken[2, 2], broken[3, 3] = torch.nan, torch.inf, -torch.inf, 7.0
    mended.copy_(broken)
    mended[0, 0], mended[1, 1], mended[2, 2], mended[3, 3] = 0.0, 5.0, -5.0, 5.0
    assert torch.equal(carrier(broken, part)[0], carrier(mended, part)[0])
    assert carrier.sanitized().item() == 3, "a clamped finite value does not count"


def test_a_bad_hidden_state_is_replaced_too() -> None:
    carrier = EnergyCarrier()
    hidden = torch.zeros(2, 16, 32)
    hidden[1, 3, 4] = torch.nan
    output, after = carrier(torch.randn(16, 64), torch.randn(16, 1), hidden)
    assert output.isfinite().all()
    assert after.isfinite().all()
    assert carrier.sanitized().item() == 1


def test_a_nan_weight_cannot_hide_behind_the_sanitiser() -> None:
    carrier = EnergyCarrier()
    with torch.no_grad():
        carrier.gru.weight_hh_l0[0, 0] = torch.nan
    output, hidden = carrier(torch.randn(16, 64), torch.randn(16, 1), torch.rand(2, 16, 32))
    assert output.isfinite().all()
    assert hidden.isfinite().all()
    assert carrier.sanitized().item() > 0


def test_an_infinite_displacement_is_counted_before_it_is_limited() -> None:
    carrier = EnergyCarrier()
    with torch.no_grad():
        carrier.displacement_head[-1].bias[0] = torch.inf
    output, _ = carrier(torch.randn(16, 64), torch.randn(16, 1))
    assert output[:, 1].tolist() == [DISPLACEMENT_LIMIT] * 16
    assert carrier.sanitized().item() == 16


def test_without_protection_the_nan_stays_visible() -> None:
    carrier = EnergyCarrier(EnergyConfig(enable_gru_nan_protection=False))
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


def test_what_was_counted_is_no_part_of_the_state() -> None:
    carrier = EnergyCarrier()
    before = copy.deepcopy(carrier.state_dict())
    carrier(torch.full((2, 64), torch.nan), torch.zeros(2, 1))
    carrier.load_state_dict(before)
    assert list(carrier.buffers()) == []
    assert carrier.sanitized().item() == 128


def test_a_fresh_carrier_moves_outward_far_enough_to_arrive() -> None:
    for depth in (4, 8, 40):
        config = EnergyConfig(lattice_depth=depth)
        output, _ = EnergyCarrier(config)(torch.zeros(1, 64), torch.zeros(1, 1))
        assert output[0, 3].item() * config.steps > 0.9
        assert output[0, 1:3].abs().max().item() < 0.1


def test_resetting_redraws_everything_from_the_generator() -> None:
    first, second = EnergyCarrier(), EnergyCarrier()
    assert not torch.equal(first.gru.weight_ih_l0, second.gru.weight_ih_l0)
    for carrier in (first, second):
        carrier.reset_parameters(torch.Generator().manual_seed(5))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert isinstance(first.gru, nn.GRU)
    assert first.gru.bias_hh_l1[32:64].tolist() == [1.0] * 32


def test_displacements_are_clamped() -> None:
    carrier = EnergyCarrier(EnergyConfig())
    with torch.no_grad():
        carrier.displacement_head[-1].bias.copy_(torch.tensor([9.0, -9.0, 0.1]))
    output, _ = carrier(torch.randn(2, 64), torch.randn(2, 1))
    assert output[:, 1].tolist() == [DISPLACEMENT_LIMIT] * 2
    assert output[:, 2].tolist() == [-DISPLACEMENT_LIMIT] * 2
