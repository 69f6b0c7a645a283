"""The whole model: any batch size, samples apart, gradients everywhere, noise in training alone."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from energy_flow.config import EnergyConfig
from energy_flow.model import EnergyFlow


def questions(batch: int) -> Tensor:
    return functional.normalize(torch.randn(batch, 384), dim=1)


def test_what_has_not_arrived_is_projected_and_still_counts() -> None:
    model = EnergyFlow(EnergyConfig(outward_travel=0.0)).eval()
    output = model(questions(2))
    assert output.arrived.item() == 0.0
    assert not torch.allclose(output.answer_BE[0], output.answer_BE[1], atol=1e-4)


@pytest.mark.parametrize("batch", [1, 3, 32])
def test_any_batch_size(batch: int) -> None:
    output = EnergyFlow()(questions(batch))
    assert output.answer_BE.shape == (batch, 384)
    assert output.answer_BE.isfinite().all()


def test_samples_do_not_touch_each_other() -> None:
    model = EnergyFlow(EnergyConfig(spawn_movement_threshold=0.1)).eval()
    question = questions(3)
    together = model(question).answer_BE
    alone = torch.cat([model(row).answer_BE for row in question.split(1)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)


def test_noise_is_for_training_alone() -> None:
    model, question = EnergyFlow(), questions(2)
    assert not torch.equal(model(question).answer_BE, model(question).answer_BE)
    model.eval()
    before = torch.get_rng_state()
    assert torch.equal(model(question).answer_BE, model(question).answer_BE)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("numbers", [1, 5])
def test_every_parameter_gets_a_gradient(numbers: int) -> None:
    model = EnergyFlow(EnergyConfig(embedding_part_dim=numbers))
    output = model(questions(4))
    (output.answer_BE.square().sum() + output.shortfall).backward()
    without = [
        name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    assert without == []


def test_nothing_of_a_batch_outlives_its_forward_pass() -> None:
    model = EnergyFlow()

    def living_tensors() -> int:
        gc.collect()
        return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())

    model(questions(4)).answer_BE.sum().backward()
    before = living_tensors()
    for batch in (4, 7, 2):
        model(questions(batch)).answer_BE.sum().backward()
    assert living_tensors() <= before


def test_shortfall_pulls_flows_outward() -> None:
    model = EnergyFlow(EnergyConfig(outward_travel=0.5, max_spawned_flows=0))
    output = model(questions(4))
    output.shortfall.backward()
    last = model.carrier.displacement_head[-1]
    assert 0.3 < output.shortfall.item() < 0.7
    assert last.bias.grad is not None
    assert last.bias.grad[2].item() < 0, "a step downhill must raise the outward drift"


@pytest.mark.parametrize("numbers", [1, 5])
def test_nothing_reaches_the_answer_but_through_the_flows(numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = EnergyFlow(EnergyConfig(embedding_part_dim=numbers)).eval()
    carry = model.carrier.forward

    def forgetful(neuron_output_FP: Tensor, part_FC: Tensor, hidden_LFh: Tensor) -> tuple[Tensor, Tensor]:
        output_F4, hidden_LFh = carry(neuron_output_FP, part_FC, hidden_LFh)
        return torch.zeros_like(output_F4), torch.zeros_like(hidden_LFh)

    one, other = model(questions(2)).answer_BE
    assert not torch.allclose(one, other, atol=1e-4)
    monkeypatch.setattr(model.carrier, "forward", forgetful)
    one, other = model(questions(2)).answer_BE
    assert torch.equal(one, other)


def test_spawn_slots_that_are_not_in_use_count_for_nothing() -> None:
    outputs = []
    for slots in (0, 40):
        torch.manual_seed(1)
        config = EnergyConfig(max_spawned_flows=slots, spawn_movement_threshold=10.0, outward_travel=0.5)
        outputs.append(EnergyFlow(config).eval()(questions(2)))
    one, other = outputs
    assert 0.0 < one.shortfall.item() < 1.0
    torch.testing.assert_close(other.shortfall, one.shortfall)
    torch.testing.assert_close(other.answer_BE, one.answer_BE)
