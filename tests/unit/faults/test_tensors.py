"""Faults in weights, gradients and optimizer state: real numbers in real tensors, and in no other."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from supervisor.errors import InputError
from supervisor.faults.model import (
    BitFlip,
    InfGradient,
    NanGradient,
    NanOptimizerState,
    NanWeight,
    OverflowGradient,
)
from supervisor.faults.tensors import TensorFaults
from supervisor.testing.tiny import TinyTrainer


def at(kind: Any, **fields: Any) -> Any:
    return kind(at_batch=0, **fields)


def backward(trainer: TinyTrainer) -> dict[str, Tensor]:
    """The gradients of one backward pass."""
    trainer.optimizer.zero_grad()
    trainer.loss(trainer.data[0]).backward()  # type: ignore[no-untyped-call]
    return {name: p.grad for name, p in trainer.model.named_parameters() if p.grad is not None}


def bad_in(tensors: dict[str, Tensor]) -> dict[str, list[float]]:
    """The values that are not finite, by the tensor that holds them."""
    bad = {name: tensor[~tensor.isfinite()].tolist() for name, tensor in tensors.items()}
    return {name: values for name, values in bad.items() if values}


def test_a_weight_is_not_hit_before_the_strike_and_then_in_one_element() -> None:
    trainer = TinyTrainer()
    strike = TensorFaults(trainer).prepare(at(NanWeight, parameter="OUTER.*"))
    assert strike is not None
    assert strike.target == "outer.weight"
    assert bad_in(dict(trainer.model.named_parameters())) == {}
    strike.do()
    held = bad_in(dict(trainer.model.named_parameters()))
    assert {name: len(values) for name, values in held.items()} == {"outer.weight": 1}
    assert trainer.model.get_parameter("outer.weight")[0, 0].isnan()


@pytest.mark.parametrize(("kind", "value"), [(NanGradient, math.nan), (InfGradient, math.inf)])
def test_one_element_of_one_gradient_is_hit_until_it_is_released(kind: Any, value: float) -> None:
    trainer = TinyTrainer()
    faults = TensorFaults(trainer)
    strike = faults.prepare(at(kind, parameter="norm.bias"))
    assert strike is not None
    strike.do()
    assert bad_in(backward(trainer)) == {"norm.bias": [pytest.approx(value, nan_ok=True)]}
    faults.release()
    assert bad_in(backward(trainer)) == {}


def test_an_overflow_leaves_every_element_finite_and_the_norm_infinite() -> None:
    trainer = TinyTrainer()
    strike = TensorFaults(trainer).prepare(at(OverflowGradient))
    assert strike is not None
    strike.do()
    gradients = backward(trainer)
    assert bad_in(gradients) == {}
    assert max(float(gradient.abs().max()) for gradient in gradients.values()) == pytest.approx(1e30)
    assert math.isinf(float(torch.stack([gradient.norm() for gradient in gradients.values()]).norm()))


def test_optimizer_state_is_hit_once_there_is_some() -> None:
    trainer = TinyTrainer()
    faults, fault = TensorFaults(trainer), at(NanOptimizerState, parameter="inner.weight")
    assert faults.prepare(fault) is None
    backward(trainer)
    trainer.optimizer.step()
    strike = faults.prepare(fault)
    assert strike is not None
    assert strike.target == "inner.weight.exp_avg_sq"
    strike.do()
    held = {
        f"{name}.{key}": value
        for name, parameter in trainer.model.named_parameters()
        for key, value in trainer.optimizer.state[parameter].items()
    }
    assert {name: len(values) for name, values in bad_in(held).items()} == {"inner.weight.exp_avg_sq": 1}
    assert faults.prepare(at(NanOptimizerState, state_key="momentum_buffer")) is None


@pytest.mark.parametrize(("bit", "factor"), [(None, 2.0**128), (30, 2.0**128), (31, -1.0), (23, 2.0)])
def test_one_bit_of_one_element_is_turned(bit: int | None, factor: float) -> None:
    trainer = TinyTrainer()
    weight = trainer.model.get_parameter("outer.weight")
    with torch.no_grad():
        weight.fill_(0.125)
    strike = TensorFaults(trainer).prepare(at(BitFlip, parameter="outer.weight", element=4 + weight.numel(), bit=bit))
    assert strike is not None
    strike.do()
    assert [index.tolist() for index in (weight != 0.125).nonzero()] == [[0, 4]]
    assert weight[0, 4].double() == 0.125 * factor


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_the_bit_turned_by_default_makes_a_small_number_a_huge_one(dtype: torch.dtype) -> None:
    trainer = TinyTrainer()
    trainer.model.to(dtype)
    weight = trainer.model.get_parameter("outer.weight")
    with torch.no_grad():
        weight.fill_(0.125)
    strike = TensorFaults(trainer).prepare(at(BitFlip, parameter="outer.weight"))
    assert strike is not None
    strike.do()
    assert float(weight.detach()[0, 0].abs()) > math.sqrt(torch.finfo(dtype).max)


class TestRefused:
    def test_a_glob_that_matches_no_parameter(self) -> None:
        with pytest.raises(InputError, match=r"'outter.weight' matches no parameter: write one of: .*outer\.weight"):
            TensorFaults(TinyTrainer()).check(at(NanWeight, parameter="outter.weight"))

    def test_a_bit_that_the_parameter_does_not_have(self) -> None:
        faults = TensorFaults(TinyTrainer())
        faults.check(at(BitFlip, bit=31))
        with pytest.raises(InputError, match=r"bit: 32: inner\.weight has 32 bits: write less"):
            faults.check(at(BitFlip, bit=32))

    def test_a_type_whose_bits_are_not_known(self) -> None:
        trainer = TinyTrainer()
        trainer.model.inner.weight = nn.Parameter(torch.zeros(2, dtype=torch.complex64))
        with pytest.raises(InputError, match=r"inner\.weight is of type torch\.complex64: choose another"):
            TensorFaults(trainer).check(at(BitFlip))
