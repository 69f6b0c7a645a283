from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd.functional import jacobian

from energy_flow.cells.mingru import KEEP_BIAS, MinGru


@given(st.floats(-40.0, 40.0), st.floats(-40.0, 40.0), st.integers(0, 2**31), st.booleans())
def test_a_step_multiplies_no_gradient_of_the_state_by_more_than_one_at_any_weights(
    log_scale: float, log_input: float, seed: int, half: bool
) -> None:
    """dh'/dh = diag(1 - z): from weights of e^-40 to e^40 times the usual, on inputs of such sizes."""
    generator = torch.Generator().manual_seed(seed)
    cell = MinGru(3, 4, 1)
    cell.reset_parameters(generator)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.mul_(torch.tensor(log_scale).exp())
    inputs = torch.randn(1, 3, generator=generator) * torch.tensor(log_input).exp()
    hidden = torch.rand(1, 1, 4, generator=generator) * 2 - 1

    def after(hidden: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            return cell(inputs, hidden)[1]

    slopes = jacobian(after, hidden).reshape(4, 4)
    diagonal = slopes.diagonal()
    assert (diagonal >= 0.0).all()
    assert (diagonal <= 1.0).all()
    assert torch.equal(slopes, diagonal.diag()), "no element of the state reads another"
    assert (after(hidden).abs() <= 1.0).all(), "a state within ±1 stays there"


@pytest.mark.parametrize("times", [1.0, 5.0, 20.0, 1e4])
def test_no_number_of_steps_makes_the_gradient_of_a_layers_state_grow(times: float) -> None:
    cell = MinGru(3, 8, 1)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.mul_(times)
    first = (torch.rand(1, 5, 8) * 2 - 1).requires_grad_()
    hidden, largest = first, []
    for _ in range(50):
        output, hidden = cell(torch.randn(5, 3), hidden)
        (gradient,) = torch.autograd.grad(output.sum(), first, retain_graph=True)
        largest.append(gradient.abs().max().item())
    assert largest[0] <= 1.0
    assert largest == sorted(largest, reverse=True)


def test_a_step_is_the_formula() -> None:
    cell = MinGru(3, 4, 1)
    with torch.no_grad():
        cell.bias_ih_l0.uniform_(-1, 1)
    inputs, hidden = torch.randn(5, 3), torch.randn(1, 5, 4)
    update_weight, new_weight = cell.weight_ih_l0.chunk(2)
    update_bias, new_bias = cell.bias_ih_l0.chunk(2)
    update = torch.sigmoid(inputs @ update_weight.T + update_bias)
    new = torch.tanh(inputs @ new_weight.T + new_bias)
    torch.testing.assert_close(cell(inputs, hidden)[1][0], (1 - update) * hidden[0] + update * new)


def test_a_fresh_cell_keeps_most_of_its_state() -> None:
    cell = MinGru(3, 4, 2)
    for layer in (0, 1):
        assert getattr(cell, f"bias_ih_l{layer}").tolist() == [KEEP_BIAS] * 4 + [0.0] * 4
    after = cell(torch.zeros(1, 3), torch.ones(2, 1, 4))[1]
    assert (after[0] > 0.7).all()
