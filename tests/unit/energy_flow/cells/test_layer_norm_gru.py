from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from energy_flow.cells.layer_norm_gru import EPSILON, LayerNormGru


def test_a_step_is_the_formula() -> None:
    cell = LayerNormGru(3, 4, 1)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.uniform_(-1, 1)
    inputs, hidden = torch.randn(5, 3), torch.randn(1, 5, 4)

    def gate(side: str, values: torch.Tensor, number: int) -> torch.Tensor:
        weight, gain, bias = (
            getattr(cell, f"{part}_{side}_l0").chunk(3)[number] for part in ("weight", "gain", "bias")
        )
        return functional.layer_norm(values @ weight.T, (4,), gain, bias, EPSILON)

    reset, update = (torch.sigmoid(gate("ih", inputs, n) + gate("hh", hidden[0], n)) for n in (0, 1))
    new = torch.tanh(gate("ih", inputs, 2) + reset * gate("hh", hidden[0], 2))
    torch.testing.assert_close(cell(inputs, hidden)[1][0], (1 - update) * new + update * hidden[0])


@pytest.mark.parametrize("times", [5.0, 20.0, 1e3])
def test_the_size_of_the_hidden_weights_changes_neither_the_step_nor_its_gradient(times: float) -> None:
    cell, inputs = LayerNormGru(3, 8, 1), torch.randn(5, 3)
    hidden = torch.randn(1, 5, 8, requires_grad=True)
    results = []
    for _ in range(2):
        output, _ = cell(inputs, hidden)
        results.append((output, *torch.autograd.grad(output.sum(), hidden)))
        with torch.no_grad():
            cell.weight_hh_l0.mul_(times)
    for before, after in zip(*results, strict=True):
        torch.testing.assert_close(before, after, rtol=0.02, atol=0.01)


def test_near_a_state_of_zeros_a_gradient_is_bounded_by_the_epsilon() -> None:
    cell = LayerNormGru(3, 8, 1)
    hidden = torch.zeros(1, 5, 8, requires_grad=True)
    output, _ = cell(torch.randn(5, 3), hidden)
    (gradient,) = torch.autograd.grad(output.sum(), hidden)
    assert gradient.norm(dim=2).max() < 8 * EPSILON**-0.5


def test_only_the_update_gate_gets_a_bias_and_gains_are_one() -> None:
    cell = LayerNormGru(3, 4, 2)
    for layer in (0, 1):
        assert getattr(cell, f"bias_hh_l{layer}").tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 4
        assert getattr(cell, f"bias_ih_l{layer}").tolist() == [0.0] * 12
        assert getattr(cell, f"gain_hh_l{layer}").tolist() == [1.0] * 12
        for block in getattr(cell, f"weight_hh_l{layer}").detach().chunk(3):
            torch.testing.assert_close(block @ block.T, torch.eye(4))
