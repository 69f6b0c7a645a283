from __future__ import annotations

import pytest
import torch
from torch import Tensor

from energy_flow.collector import collect


def column(*values: float) -> Tensor:
    return torch.tensor(values).unsqueeze(1)


def test_a_lone_flow_brings_its_energy_to_its_cell() -> None:
    surface = collect(
        torch.tensor([2, 0]), column(0.5, -0.25), column(0.3, 0.0), column(4, 2), torch.ones(2, 1, dtype=torch.bool),
        batch=2, cells=3,
    )  # fmt: skip
    assert surface.tolist() == [[0.0, 0.0, 0.5], [-0.25, 0.0, 0.0]]


def test_flows_in_one_cell_are_weighted_by_how_they_came() -> None:
    energy, distance, steps = (0.8, 0.2, 0.5), (0.0, 0.5, 1.0), (1.0, 3.0, 4.0)
    surface = collect(
        torch.tensor([1, 1, 1]), column(*energy), column(*distance), column(*steps),
        torch.ones(3, 1, dtype=torch.bool), batch=1, cells=2,
    )  # fmt: skip
    score = torch.tensor([0.8 / 1.0 * 1.1, 0.2 / 1.5 * 1.3, 0.5 / 2.0 * 1.4])
    expected = (score.softmax(dim=0) * torch.tensor(energy)).sum()
    torch.testing.assert_close(surface, torch.stack((torch.tensor(0.0), expected)).unsqueeze(0))


def test_all_that_a_flow_brings_is_weighted_by_its_energy() -> None:
    energy = (0.8, 0.2)
    brought_FC = torch.tensor([[1.0, 2.0], [3.0, 5.0], [7.0, 11.0]])
    surface = collect(
        torch.tensor([1, 1, 0]), column(*energy, 0.4), torch.zeros(3, 1), torch.ones(3, 1),
        torch.ones(3, 1, dtype=torch.bool), batch=1, cells=2, brought_FC=brought_FC,
    )  # fmt: skip
    weight = (1.1 * torch.tensor(energy)).softmax(dim=0).unsqueeze(1)
    expected = torch.cat((brought_FC[2], (weight * brought_FC[:2]).sum(dim=0)))
    torch.testing.assert_close(surface, expected.unsqueeze(0))


def test_flows_that_did_not_arrive_do_not_count() -> None:
    surface = collect(
        torch.tensor([0, 0]), column(0.5, 0.9), column(0.0, 0.0), column(1, 1), torch.tensor([[True], [False]]),
        batch=1, cells=1,
    )  # fmt: skip
    assert surface.item() == 0.5


def test_when_nothing_arrives_the_surface_is_zero_and_still_has_a_gradient() -> None:
    energy = torch.rand(4, 1, requires_grad=True)
    surface = collect(
        torch.tensor([0, 1, 0, 1]), energy, torch.zeros(4, 1), torch.zeros(4, 1), torch.zeros(4, 1, dtype=torch.bool),
        batch=2, cells=2,
    )  # fmt: skip
    assert surface.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    surface.sum().backward()
    assert energy.grad is not None
    assert energy.grad.tolist() == [[0.0]] * 4


def test_a_shorter_way_to_the_plane_weighs_more_in_the_gradient() -> None:
    distance = torch.tensor([[0.2], [0.2]], requires_grad=True)
    surface = collect(
        torch.tensor([0, 0]), column(0.9, 0.1), distance, torch.ones(2, 1), torch.ones(2, 1, dtype=torch.bool),
        batch=1, cells=1,
    )  # fmt: skip
    surface.sum().backward()
    assert distance.grad is not None
    assert distance.grad[0].item() < 0, "bringing the stronger flow nearer must raise the cell's energy"


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_broken_energy_stays_visible_in_its_own_cell(bad: float) -> None:
    surface = collect(
        torch.tensor([0, 1]), column(bad, 0.5), torch.zeros(2, 1), torch.ones(2, 1), torch.ones(2, 1, dtype=torch.bool),
        batch=1, cells=2,
    )  # fmt: skip
    assert not surface[0, 0].isfinite()
    assert surface[0, 1].item() == 0.5
