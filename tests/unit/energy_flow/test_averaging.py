"""Averages of weights, kept by the optimizer and moved by its steps alone."""

from __future__ import annotations

import contextlib
import copy

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

from energy_flow.averaging import AVERAGE, WeightAverage, weights_replaced


def trained(steps: int, *, fused: bool = True) -> tuple[nn.Module, AdamW, WeightAverage, list[dict[str, torch.Tensor]]]:
    """A model after some steps, and its weights after each of them; its second layer has no gradients."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    optimizer = AdamW(model.parameters(), lr=0.1, fused=fused)
    average, seen = WeightAverage(0.75), []
    average.attach(optimizer)
    for step in range(steps):
        for parameter in model[0].parameters():
            parameter.grad = torch.full_like(parameter, (-1.0) ** step)
        optimizer.step()
        seen.append(copy.deepcopy(model.state_dict()))
    return model, optimizer, average, seen


@pytest.mark.parametrize("fused", [False, True])
def test_an_average_begins_as_the_first_weights_and_follows_them(fused: bool) -> None:
    model, optimizer, average, seen = trained(5, fused=fused)
    found = average.weights(model, optimizer)
    assert found.keys() == {"0.weight", "0.bias"}, "what was never stepped has no average"
    for name, value in found.items():
        expected = seen[0][name]
        for weights in seen[1:]:
            expected = 0.75 * expected + 0.25 * weights[name]
        torch.testing.assert_close(value, expected)


def test_an_optimizer_that_keeps_nothing_else_keeps_averages_too() -> None:
    model = nn.Linear(3, 1)
    optimizer, average = SGD(model.parameters(), lr=0.1), WeightAverage(0.75)
    average.attach(optimizer)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    first = model.weight.detach() - 0.1
    for _ in range(2):
        optimizer.step()
    torch.testing.assert_close(average.weights(model, optimizer)["weight"], first - 0.025)


def test_a_layer_that_comes_into_training_later_steps_as_ever() -> None:
    model, optimizer, average, _ = trained(2)
    model[1].weight.grad = torch.ones(2, 2)
    optimizer.step()
    assert torch.equal(average.weights(model, optimizer)["1.weight"], model[1].weight)


def test_a_parameter_whose_state_is_cleared_begins_its_average_anew() -> None:
    model, optimizer, average, _ = trained(3)
    del optimizer.state[model[0].weight]
    for parameter in model[0].parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    found = average.weights(model, optimizer)
    assert torch.equal(found["0.weight"], model[0].weight)
    assert not torch.equal(found["0.bias"], model[0].bias)


def test_averages_are_saved_with_the_optimizer() -> None:
    _, optimizer, _, _ = trained(3)
    assert [AVERAGE in held for held in optimizer.state_dict()["state"].values()] == [True, True]


def test_other_weights_stand_in_for_a_block_and_go_bit_for_bit() -> None:
    model = nn.Linear(3, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-0.0, torch.nan, 1.0]]))
    before = {name: value.clone().view(torch.int32) for name, value in model.state_dict().items()}
    block = contextlib.ExitStack()
    block.enter_context(weights_replaced(model, {"weight": torch.full((1, 3), 2.0)}))
    assert model.weight.tolist() == [[2.0, 2.0, 2.0]]
    assert torch.equal(model.bias.view(torch.int32), before["bias"])
    with pytest.raises(RuntimeError, match="amid"), block:
        raise RuntimeError("amid the block")
    after = {name: value.view(torch.int32) for name, value in model.state_dict().items()}
    assert all(torch.equal(after[name], before[name]) for name in before)
