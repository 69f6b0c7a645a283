"""At what scale weights were drawn."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from supervisor.training.weight_scale import owners, weight_scales


def test_it_is_about_one_for_the_usual_draws_whatever_the_width() -> None:
    model = nn.Sequential(nn.Linear(400, 300), nn.Conv2d(8, 16, 3), nn.GRU(64, 64))
    scales = weight_scales(model)
    assert {*scales} == {"0.weight", "1.weight", "2.weight_ih_l0", "2.weight_hh_l0"}
    assert all(0.5 < scale < 0.7 for scale in scales.values())


def test_it_follows_the_factor() -> None:
    model = nn.Linear(50, 40)
    (before,) = weight_scales(model).values()
    with torch.no_grad():
        model.weight.mul_(20)
    assert weight_scales(model)["weight"] == pytest.approx(20 * before)


def test_embeddings_what_shares_their_weights_frozen_and_tiny_weights_are_left_out() -> None:
    model = nn.ModuleDict({"head": nn.Linear(16, 30), "table": nn.Embedding(30, 16), "small": nn.Linear(3, 5)})
    model["head"].weight = model["table"].weight
    assert weight_scales(model) == {}
    assert weight_scales(nn.Linear(30, 30).requires_grad_(False)) == {}
    assert weight_scales(weight_norm(nn.Linear(30, 30))) == {}


def test_nothing_is_drawn_and_nothing_changed() -> None:
    model, state = nn.Linear(8, 8), torch.get_rng_state()
    weight_scales(model)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_modules_that_hold_weights() -> None:
    assert owners(["a.b.weight_ih", "a.b.weight_hh", "c.weight", "weight"]) == ("a.b", "c", "")
