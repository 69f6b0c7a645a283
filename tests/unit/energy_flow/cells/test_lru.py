from __future__ import annotations

import cmath

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd.functional import jacobian

from energy_flow.cells.lru import FASTEST, SLOWEST, WIDEST_PHASE, Lru


@given(st.floats(-1e3, 1e3, width=32), st.floats(-1e3, 1e3, width=32))
def test_a_step_makes_no_state_longer_at_any_weights(log_rate: float, phase: float) -> None:
    cell = Lru(3, 4, 1)
    with torch.no_grad():
        cell.log_rate_l0.fill_(log_rate)
        cell.phase_l0.fill_(phase)
    inputs = torch.randn(1, 3)
    slopes = jacobian(lambda hidden: cell(inputs, hidden)[1], torch.randn(1, 1, 4)).reshape(4, 4)
    assert torch.linalg.matrix_norm(slopes, 2) <= 1.0 + 1e-6
    cell(inputs, torch.randn(1, 1, 4))[0].sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in cell.parameters())


def test_a_step_is_the_formula_in_complex_numbers() -> None:
    cell, inputs, hidden = Lru(3, 4, 1), torch.randn(1, 3), torch.randn(1, 1, 4)
    output, after = cell(inputs, hidden)
    drive, before = torch.complex(*(inputs @ cell.weight_ih_l0.T).chunk(2, 1)), torch.complex(*hidden[0].chunk(2, 1))
    for unit in range(2):
        rate = cmath.exp(cell.log_rate_l0[unit].item())
        eigenvalue = cmath.exp(-rate + 1j * cell.phase_l0[unit].item())
        gain = (1 - abs(eigenvalue) ** 2) ** 0.5
        expected = eigenvalue * before[0, unit].item() + gain * drive[0, unit].item()
        assert after[0, 0, unit].item() == pytest.approx(expected.real, abs=1e-5)
        assert after[0, 0, unit + 2].item() == pytest.approx(expected.imag, abs=1e-5)
    torch.testing.assert_close(output, torch.tanh(after[0] @ cell.weight_ho_l0.T + cell.bias_ho_l0))


def test_the_eigenvalues_of_a_fresh_cell_lie_on_the_ring() -> None:
    cell = Lru(3, 2000, 2)
    for layer in (0, 1):
        left = (-getattr(cell, f"log_rate_l{layer}").exp()).exp()
        phase = getattr(cell, f"phase_l{layer}")
        assert FASTEST - 1e-4 <= left.min().item() < FASTEST + 0.02
        assert SLOWEST - 0.01 < left.max().item() <= SLOWEST + 1e-4
        assert phase.min().item() >= 0.0
        assert 0.99 * WIDEST_PHASE < phase.max().item() <= WIDEST_PHASE
