"""Rectified units that are zero whatever comes in."""

from __future__ import annotations

import torch
from torch import nn

from supervisor.training.dead_units import DeadUnits


def test_a_unit_is_alive_once_it_was_above_zero_for_any_sample_of_any_batch() -> None:
    model = nn.Sequential(nn.Identity(), nn.ReLU())
    units = DeadUnits()
    with units.watching(model):
        model(torch.tensor([[1.0, -1, -1, -1], [-1, -1, -1, -1]]))
        model(torch.tensor([[-1.0, -1, 1, -1]]))
    model(torch.ones(1, 4))
    assert units.shares() == {"1": 0.5}
    assert not model[1]._forward_hooks


def test_an_image_is_judged_by_channel_and_a_sequence_by_feature() -> None:
    image = -torch.ones(2, 4, 3, 3)
    image[0, 1, 2, 2] = 1
    sequence = -torch.ones(2, 5, 4)
    sequence[1, 4, :3] = 1
    for output, share in ((image, 0.75), (sequence, 0.25)):
        units = DeadUnits()
        model = nn.ReLU()
        with units.watching(model):
            model(output)
        assert units.shares() == {"": share}


def test_without_rectified_units_nothing_is_said() -> None:
    units = DeadUnits()
    with units.watching(nn.Tanh()):
        pass
    assert units.shares() == {}
