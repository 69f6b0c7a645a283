"""The only forward and backward pass there is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.parts import BATCHES
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import SGD

from supervisor.testing.tiny import TinyTrainer
from supervisor.training.optimizers import chained
from supervisor.update.backward import backward, unscale

SCALE = 8.0


def gradients(model: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def by_hand(divisor: int, *batches: Any) -> tuple[float, list[Tensor]]:
    """The loss and the gradients as a plain loop has them."""
    trainer, total = TinyTrainer(), 0.0
    for batch in batches:
        loss = trainer.loss(batch) / divisor
        loss.backward()
        total += float(loss.detach())
    return total, gradients(trainer.model)


@pytest.mark.parametrize("count", [1, 3])
def test_losses_and_gradients_are_added_up_as_in_a_plain_loop(count: int) -> None:
    trainer = TinyTrainer()
    loss = backward(BATCHES[:count], trainer.loss, None, count)
    expected, grads = by_hand(count, *BATCHES[:count])
    assert float(loss) == pytest.approx(expected, rel=1e-6)
    assert all(map(torch.equal, gradients(trainer.model), grads))
    assert not loss.requires_grad


def test_fewer_batches_than_the_divisor_weigh_what_they_weigh_in_the_update() -> None:
    trainer = TinyTrainer()
    loss = backward(BATCHES[:1], trainer.loss, None, 4)
    assert float(loss) == pytest.approx(by_hand(1, BATCHES[0])[0] / 4)


def test_the_scale_is_in_the_gradients_and_not_in_the_loss() -> None:
    trainer = TinyTrainer()
    loss = backward(BATCHES[:1], trainer.loss, GradScaler("cpu", init_scale=SCALE), 1)
    expected, grads = by_hand(1, BATCHES[0])
    assert float(loss) == expected
    assert all(torch.equal(grad, SCALE * plain) for grad, plain in zip(gradients(trainer.model), grads, strict=True))


def test_a_loss_of_one_element_will_do() -> None:
    weight = nn.Parameter(torch.tensor([2.0]))
    assert backward([3.0], lambda batch: weight * batch, None, 1).tolist() == [6.0]
    assert weight.grad is not None
    assert weight.grad.tolist() == [3.0]


@pytest.mark.parametrize(
    ("given", "said"),
    [(0.5, "not float"), (None, "not None"), (torch.ones(2, requires_grad=True), r"not shape \(2,\)")],
)
def test_what_is_no_loss_is_refused_with_what_it_is(given: Any, said: str) -> None:
    with pytest.raises(TypeError, match=rf"must return a tensor with one element, {said}"):
        backward([1], lambda batch: given, None, 1)


def test_no_batches_are_no_update() -> None:
    with pytest.raises(ValueError, match="at least one batch"):
        backward([], lambda batch: torch.ones(()), None, 1)


def test_what_the_loss_raises_is_left_as_it_is() -> None:
    error = KeyError("label")

    def compute(batch: Any) -> Tensor:
        raise error

    with pytest.raises(KeyError) as raised:
        backward([1], compute, None, 1)
    assert raised.value is error


class TestUnscale:
    def two(self) -> tuple[list[nn.Parameter], Any, GradScaler]:
        """Two optimizers of one parameter each, whose gradients are 1 and scaled."""
        weights = [nn.Parameter(torch.ones(1)) for _ in range(2)]
        scaler = GradScaler("cpu", init_scale=SCALE)
        backward([1], lambda batch: weights[0].sum() + weights[1].sum(), scaler, 1)
        return weights, chained([SGD([weight], lr=0.1) for weight in weights]), scaler

    def grads(self, weights: list[nn.Parameter]) -> list[float]:
        return [float(weight.grad) for weight in weights if weight.grad is not None]

    def test_the_scale_is_taken_out_once_of_the_gradients_of_each(self) -> None:
        weights, optimizer, scaler = self.two()
        assert self.grads(weights) == [SCALE, SCALE]
        unscale(scaler, optimizer)
        assert self.grads(weights) == [1.0, 1.0]
        unscale(scaler, optimizer)
        assert self.grads(weights) == [1.0, 1.0]

    def test_those_that_the_caller_has_unscaled_are_left_alone(self) -> None:
        weights, optimizer, scaler = self.two()
        scaler.unscale_(optimizer.optimizers[1])
        unscale(scaler, optimizer)
        assert self.grads(weights) == [1.0, 1.0]

    def test_with_a_scaler_that_is_off_nothing_happens(self) -> None:
        weights, optimizer, _ = self.two()
        unscale(GradScaler("cpu", enabled=False), optimizer)
        assert self.grads(weights) == [SCALE, SCALE]
