"""Checkpointed, hooked and averaged models: a bad batch leaves nothing of itself in any of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.exact import assert_same, everything
from support.training import EventList, Training, build, guard_of, healthy_batches, nan_batch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint

BATCHES = healthy_batches(10)


class Checkpointed(nn.Module):
    """Runs its inner part again in the backward pass, with the same dropout."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant
        self.first, self.outer = nn.Linear(6, 16), nn.Linear(16, 3)
        self.inner = nn.Sequential(nn.Linear(16, 16), nn.Dropout(0.3), nn.Tanh())

    def forward(self, x_BF: Tensor) -> Tensor:
        logits: Tensor = self.outer(checkpoint(self.inner, self.first(x_BF), use_reentrant=self.reentrant))
        return logits


class Doubled(torch.autograd.Function):
    """A function with a backward pass of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient * 2


def checkpointed() -> Training:
    return build(model=lambda: Checkpointed(reentrant=False))


def checkpointed_reentrant() -> Training:
    return build(model=lambda: Checkpointed(reentrant=True))


def hooked() -> Training:
    training = build()
    training.model.register_forward_hook(lambda module, args, output: Doubled.apply(output))  # type: ignore[no-untyped-call]
    next(training.model.parameters()).register_hook(lambda gradient: gradient * 0.5)
    return training


def averaged() -> Training:
    training = build()
    average = AveragedModel(training.model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    training.optimizer.register_step_post_hook(lambda *_: average.update_parameters(training.model))
    training.extra_state = {"average": average}
    return training


@pytest.mark.parametrize("make", [checkpointed, checkpointed_reentrant, hooked, averaged])
@pytest.mark.parametrize("bad", [0, 4, 9])
def test_a_bad_batch_is_never_seen(make: Any, bad: int) -> None:
    one, heard = make(), EventList()
    spoilt = [nan_batch(batch) if number == bad else batch for number, batch in enumerate(BATCHES)]
    guard_of(one, spoilt, listeners=[heard]).run(10)
    assert heard.actions() == ["skip_batch"]
    other = make()
    for batch in [*BATCHES[:bad], *BATCHES[bad + 1 :]]:
        other.optimizer.zero_grad()
        other.loss(batch).backward()  # type: ignore[no-untyped-call]
        other.optimizer.step()
    assert_same(everything(one), everything(other))


def test_an_average_moved_inside_the_step_goes_back_with_the_weights() -> None:
    training, states = averaged(), []
    policy = {"ladder": [{"action": "reload_checkpoint"}], "snapshot": {"every_steps": 3}, "probation_steps": 2}
    guard = guard_of(training, policy=policy)
    for batch in BATCHES[:8]:
        guard.step(batch)
        states.append(everything(training))
    guard.step(nan_batch(BATCHES[8]))
    assert_same(everything(training), states[5])


def test_an_interrupt_inside_the_optimizer_passes_through_and_its_batch_is_spent() -> None:
    training, strikes = build(), [True]
    training.scaler = torch.amp.GradScaler("cpu", init_scale=256.0)

    def strike(*_: Any) -> None:
        if strikes and guard.steps_done == 3:
            strikes.clear()
            raise KeyboardInterrupt

    training.optimizer.register_step_post_hook(strike)
    heard = EventList()
    guard = guard_of(training, BATCHES, listeners=[heard])
    with pytest.raises(KeyboardInterrupt):
        guard.run(9)
    guard.run(9)
    assert (guard.steps_done, guard.batches_drawn) == (9, 10)
    assert not heard.named("signal")
