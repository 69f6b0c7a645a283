"""What holds for every cell: shapes, draws, gradients over many steps, half precision, extremes, long journeys."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from energy_flow.cells import CarrierCell, make_cell
from energy_flow.config import CellName, EnergyConfig
from energy_flow.model import EnergyFlow

CELLS = get_args(CellName)
HALVES = (torch.float16, torch.bfloat16)

pytestmark = pytest.mark.parametrize("name", CELLS)

cuda = pytest.param("cuda", marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA")])


def cell_of(name: CellName, *, times: float = 1.0, **config: object) -> CarrierCell:
    """A fresh one, all of its parameters multiplied."""
    cell = make_cell(EnergyConfig.model_validate({"carrier_cell": name, **config}))
    cell.reset_parameters()
    scale(cell, times)
    return cell


def scale(module: torch.nn.Module, times: float) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(times)


def gradient_of_the_first_state(cell: CarrierCell, steps: int) -> Tensor:
    """Of the sum of the outputs after so many steps on fresh inputs, by the state before them [L, F, h]."""
    first = (0.1 * torch.randn(2, 16, 32)).requires_grad_()
    hidden = first
    for _ in range(steps):
        output, hidden = cell(torch.randn(16, 65), hidden)
    (gradient,) = torch.autograd.grad(output.sum(), first)
    return gradient


def test_a_step_gives_an_output_and_the_state_of_each_layer(name: CellName) -> None:
    cell = cell_of(name, carrier_layers=3, carrier_hidden_size=6)
    output, hidden = cell(torch.randn(5, 65))
    assert (output.shape, hidden.shape) == ((5, 6), (3, 5, 6))
    again, after = cell(torch.randn(5, 65), hidden)
    assert not torch.equal(again, output)
    assert torch.equal(output, hidden[-1]) is cell.output_is_hidden
    assert all((after[layer] != hidden[layer]).any() for layer in range(3))


def test_a_flow_that_starts_has_zeros(name: CellName) -> None:
    cell, inputs = cell_of(name), torch.randn(5, 65)
    assert torch.equal(cell(inputs)[1], cell(inputs, torch.zeros(2, 5, 32))[1])


def test_flows_do_not_see_each_other(name: CellName) -> None:
    cell, inputs, hidden = cell_of(name), torch.randn(5, 65), torch.rand(2, 5, 32)
    whole, after = cell(inputs, hidden)
    alone, after_alone = cell(inputs[2:3], hidden[:, 2:3])
    torch.testing.assert_close(whole[2:3], alone)
    torch.testing.assert_close(after[:, 2:3], after_alone)


def test_the_state_remembers(name: CellName) -> None:
    """What a flow read ten steps ago still tells two flows apart."""
    cell = cell_of(name)
    first, second = cell(torch.randn(5, 65))[1], cell(torch.randn(5, 65))[1]
    for _ in range(10):
        inputs = torch.randn(5, 65)
        (one, first), (other, second) = cell(inputs, first), cell(inputs, second)
    assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize("method", ["orthogonal", "xavier"])
def test_a_redraw_is_the_generators_alone_and_leaves_nothing_of_before(name: CellName, method: str) -> None:
    drawn = []
    for spoilt in (math.nan, 7.0):
        cell = cell_of(name, gru_initialization_method=method)
        with torch.no_grad():
            for parameter in cell.parameters():
                parameter.fill_(spoilt)
        places = [parameter.data_ptr() for parameter in cell.parameters()]
        before = torch.get_rng_state()
        cell.reset_parameters(torch.Generator().manual_seed(5))
        assert torch.equal(torch.get_rng_state(), before)
        assert [parameter.data_ptr() for parameter in cell.parameters()] == places
        drawn.append([parameter.detach().clone() for parameter in cell.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*drawn, strict=True))
    assert all(torch.isfinite(value).all() for value in drawn[0])


def test_the_parameters_are_the_cells_own(name: CellName) -> None:
    """So that whoever blames one of them blames the cell, and not a part of it with another rule."""
    cell = cell_of(name)
    assert list(cell.children()) == []
    assert {key.rsplit("_l", 1)[1] for key, _ in cell.named_parameters()} == {"0", "1"}


@pytest.mark.parametrize("steps", [5, 40, 160])
def test_gradients_of_a_fresh_cell_stay_within_bounds_over_many_steps(name: CellName, steps: int) -> None:
    gradient = gradient_of_the_first_state(cell_of(name), steps)
    assert gradient.isfinite().all()
    assert gradient.abs().max() < 100.0


def test_many_passes_leave_gradients_where_they_were(name: CellName) -> None:
    """Nothing of one pass reaches into the next: neither a graph nor a number that grows."""
    model = EnergyFlow(EnergyConfig(carrier_cell=name, lattice_width=3, lattice_height=3, embedding_dim=6))
    question = torch.randn(4, 6)
    norms = []
    for _ in range(30):
        torch.manual_seed(1)
        model.zero_grad()
        model(question).answer_BE.square().sum().backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        norms.append(torch.nn.utils.get_total_norm(gradients).item())
    assert norms[0] > 0
    assert norms == [norms[0]] * 30


@pytest.mark.parametrize("times", [1.0, 5.0, 20.0])
def test_large_initial_weights_leave_outputs_and_gradients_finite(name: CellName, times: float) -> None:
    model = EnergyFlow(EnergyConfig(carrier_cell=name, lattice_depth=16, embedding_dim=6))
    scale(model.carrier.cell, times)
    answer = model(torch.randn(4, 6)).answer_BE
    answer.square().sum().backward()
    assert answer.isfinite().all()
    assert model.carrier.sanitized().item() == 0
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("size", [1e-30, 1e4, 1e30])
def test_extreme_questions_leave_outputs_finite(name: CellName, size: float) -> None:
    model = EnergyFlow(EnergyConfig(carrier_cell=name, lattice_width=3, lattice_height=3, embedding_dim=6))
    answer = model(size * torch.randn(4, 6)).answer_BE
    answer.square().sum().backward()
    assert answer.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.carrier.parameters() if p.grad is not None)


@pytest.mark.parametrize("device", ["cpu", cuda])
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("times", [1.0, 20.0])
def test_half_precision_runs_and_is_near_single(name: CellName, dtype: torch.dtype, times: float, device: str) -> None:
    model = EnergyFlow(EnergyConfig(carrier_cell=name, lattice_width=4, lattice_height=4, embedding_dim=6))
    scale(model.carrier.cell, times)
    model.to(device).eval()
    question = torch.randn(4, 6, device=device)
    expected = model(question).answer_BE
    with torch.autocast(device, dtype):
        answer = model(question).answer_BE
    answer.square().sum().backward()
    assert answer.isfinite().all()
    assert model.carrier.sanitized().item() == 0
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    if times == 1.0:
        torch.testing.assert_close(answer, expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("dtype", HALVES)
def test_what_is_added_up_over_the_steps_stays_in_single_precision(name: CellName, dtype: torch.dtype) -> None:
    cell, hidden = cell_of(name), torch.rand(2, 5, 32)
    with torch.autocast("cpu", dtype):
        output, after = cell(torch.randn(5, 65), hidden)
    assert output.dtype == after.dtype
    # Torch itself decides for its GRU, and not alike for both types.
    assert name == "gru" or after.dtype == torch.float32


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("starts", [True, False])
def test_flows_that_come_in_half_precision_are_taken_too(name: CellName, dtype: torch.dtype, starts: bool) -> None:
    """As where what stands before the carrier is computed under autocast, and nothing has made it wider."""
    cell = cell_of(name)
    with torch.autocast("cpu", dtype):
        output, after = cell(torch.randn(5, 65).to(dtype), None if starts else torch.rand(2, 5, 32).to(dtype))
    assert output.isfinite().all()
    assert name == "gru" or after.dtype == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize("times", [1.0, 5.0])
def test_a_long_journey_of_a_large_surface_stays_finite(name: CellName, times: float) -> None:
    """8x8x40, where the system before this one got infinite gradients at half the depth."""
    config = EnergyConfig(carrier_cell=name, lattice_depth=40)
    model = EnergyFlow(config)
    scale(model.carrier.cell, times)
    for _ in range(3):
        model.zero_grad()
        answer = model(torch.nn.functional.normalize(torch.randn(16, 384), dim=1)).answer_BE
        answer.square().sum().backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        assert answer.isfinite().all()
        assert norm.isfinite()
        # At five times its weights, gains included, the LayerNorm GRU is known to reach 4e5.
        assert times > 1.0 or norm < 1e3
    assert model.carrier.sanitized().item() == 0
