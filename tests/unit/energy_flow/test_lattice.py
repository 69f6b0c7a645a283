from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from energy_flow.lattice import cell_centres, move, quantise, reflect

SIDES = st.integers(2, 40)
INSIDE = st.floats(-1.0, 1.0)


@given(st.floats(-50.0, 50.0))
def test_reflected_coordinates_lie_inside(coordinate: float) -> None:
    assert -1.0 <= reflect(torch.tensor(coordinate, dtype=torch.float64)).item() <= 1.0


@given(INSIDE)
def test_coordinates_inside_stay(coordinate: float) -> None:
    assert reflect(torch.tensor(coordinate, dtype=torch.float64)).item() == pytest.approx(coordinate, abs=1e-12)


@given(st.sampled_from([-1.0, 1.0]), st.floats(0.0, 2.0))
def test_what_goes_beyond_a_wall_comes_back_by_as_much(wall: float, beyond: float) -> None:
    folded = reflect(torch.tensor(wall + wall * beyond, dtype=torch.float64)).item()
    assert folded == pytest.approx(wall - wall * beyond, abs=1e-12)


def test_reflection_turns_the_gradient_around() -> None:
    coordinate = torch.tensor([0.5, 1.25, -1.25], requires_grad=True)
    reflect(coordinate).sum().backward()
    assert coordinate.grad is not None
    assert coordinate.grad.tolist() == [1.0, -1.0, -1.0]


def test_depth_stops_at_the_planes_and_does_not_reflect() -> None:
    moved = move(torch.tensor([[0.9, -0.9, 0.8], [0.0, 0.0, -0.8]]), torch.tensor([[0.3, -0.3, 0.4], [0.1, 0.2, -0.4]]))
    torch.testing.assert_close(moved, torch.tensor([[0.8, -0.8, 1.0], [0.1, 0.2, -1.0]]))


@given(SIDES, SIDES)
def test_each_cell_centre_falls_in_its_own_cell(width: int, height: int) -> None:
    assert quantise(cell_centres(width, height), width, height).tolist() == list(range(width * height))


@given(INSIDE, INSIDE, SIDES, SIDES)
def test_a_position_falls_in_the_nearest_cell(x: float, y: float, width: int, height: int) -> None:
    position = torch.tensor([x, y])
    cell = int(quantise(position, width, height))
    away = (cell_centres(width, height)[cell] - position).abs()
    assert away[0] <= 1.0 / width + 1e-6
    assert away[1] <= 1.0 / height + 1e-6


@given(st.floats(width=32), st.floats(width=32))
def test_no_position_whatever_gives_a_cell_out_of_range(x: float, y: float) -> None:
    assert 0 <= int(quantise(torch.tensor([x, y]), 5, 7)) < 35
