"""Trying canaries on the present state: the same loss again, no trace, and a reason where it cannot be told."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from support.exact import assert_same, generators
from support.parts import BATCHES, Parts
from torch import Tensor, nn

from supervisor.experiments import Canary, Probing, RecentCanaries
from supervisor.experiments.probing import ProbeFailed
from supervisor.training.tree import clone
from supervisor.update import LossFunction


class Setting:
    """A probing around a tiny training, with the canaries of its first updates."""

    def __init__(
        self, loss: LossFunction | None = None, model: nn.Module | None = None, *, seconds: float = 60.0, count: int = 2
    ) -> None:
        self.parts = Parts.of(model, loss)
        kept = RecentCanaries(count)
        for batch in BATCHES[:count]:
            kept.healthy(self.parts.measured(clone(batch)))
        self.canaries: tuple[Canary, ...] = kept.usable()
        self.probing = Probing(self.parts.subject, self.parts.executor, seconds)

    def losses(self) -> tuple[float, ...]:
        return self.probing.losses(self.canaries)

    def state(self) -> dict[str, Any]:
        model = self.parts.model
        return {
            "parameters": clone(dict(model.named_parameters())),
            "buffers": clone(dict(model.named_buffers())),
            "gradients": self.parts.gradients(),
            "optimizer": clone(self.parts.subject.capture().to_tree()["optimizer"]),
            "modes": [module.training for module in model.modules()],
            "rng": generators(),
        }


class Drawing(nn.Module):
    """Draws from all three generators, and counts its calls in a buffer and in an attribute."""

    calls_B: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.drop = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("calls_B", torch.zeros(1))
        self.calls = 0

    def forward(self, x_BF: Tensor) -> Tensor:
        self.calls += 1
        self.calls_B += 1
        logits: Tensor = self.linear(self.drop(self.norm(x_BF)))
        return logits + random.random() + float(np.random.rand())


def test_on_the_state_from_which_they_come_they_have_their_losses() -> None:
    setting = Setting()
    assert setting.losses() == tuple(canary.loss for canary in setting.canaries)


def test_dropout_and_the_other_generators_draw_what_they_drew() -> None:
    setting = Setting(model=Drawing())
    torch.rand(3)
    random.random()
    assert setting.losses() == tuple(canary.loss for canary in setting.canaries)


def test_on_a_damaged_state_they_have_others() -> None:
    setting = Setting()
    with torch.no_grad():
        for parameter in setting.parts.model.parameters():
            parameter.mul_(10)
    assert all(now > 2 * canary.loss for now, canary in zip(setting.losses(), setting.canaries, strict=True))


def test_a_loss_that_is_not_finite_is_told_as_it_is() -> None:
    setting = Setting()
    with torch.no_grad():
        next(iter(setting.parts.model.parameters())).fill_(torch.nan)
    assert all(loss != loss for loss in setting.losses())


@pytest.mark.parametrize("model", [None, Drawing], ids=["tiny", "drawing"])
def test_it_leaves_no_trace(model: Callable[[], nn.Module] | None) -> None:
    setting = Setting(model=None if model is None else model())
    setting.parts.measured(BATCHES[3])
    before, counted = setting.state(), getattr(setting.parts.model, "calls", None)
    for _ in range(3):
        setting.losses()
    assert_same(setting.state(), before)
    assert getattr(setting.parts.model, "calls", None) == counted


def test_it_runs_in_the_modes_that_the_loop_left() -> None:
    setting = Setting()
    setting.parts.model.eval()
    before = setting.state()
    assert setting.losses() != tuple(canary.loss for canary in setting.canaries)
    assert_same(setting.state(), before)


def test_the_first_time_each_is_tried_twice_and_later_once() -> None:
    setting = Setting()
    assert setting.probing.repeats is None
    setting.losses()
    assert (setting.probing.passes, setting.probing.repeats) == (4, True)
    setting.losses()
    assert setting.probing.passes == 6


def test_a_loss_that_is_another_one_each_time_ends_it_for_good() -> None:
    count = iter(range(1000))

    def drifting(batch: Any) -> Tensor:
        loss: Tensor = parts[0](batch) * (1 + 0.01 * next(count))
        return loss

    parts: list[Any] = []
    setting = Setting(lambda batch: drifting(batch) if parts else torch.zeros((), requires_grad=True))
    parts.append(Parts.of(setting.parts.model).loss)
    with pytest.raises(ProbeFailed, match="another one each time") as failed:
        setting.losses()
    assert failed.value.raised is None
    passes = setting.probing.passes
    with pytest.raises(ProbeFailed, match="another one each time"):
        setting.losses()
    assert setting.probing.passes == passes


def test_what_differs_by_rounding_repeats() -> None:
    count = iter(range(1000))
    inner: list[LossFunction] = []
    setting = Setting(
        lambda batch: inner[0](batch) * (1 + 1e-5 * next(count)) if inner else torch.zeros((), requires_grad=True)
    )
    inner.append(Parts.of(setting.parts.model).loss)
    setting.losses()
    assert setting.probing.repeats


def test_a_loss_that_raises_is_named_with_its_line() -> None:
    raising: list[bool] = []
    inner: list[LossFunction] = []

    def loss(batch: Any) -> Tensor:
        if raising:
            raise ValueError("a shape that does not fit")
        return inner[0](batch)

    model = Parts.of().model
    inner.append(Parts.of(model).loss)
    setting = Setting(loss, model)
    before = setting.state()
    raising.append(True)
    with pytest.raises(ProbeFailed, match="a batch that was healthy raises") as failed:
        setting.losses()
    raised = failed.value.raised
    assert raised is not None
    assert raised.type == "ValueError"
    assert "test_probing.py" in str(raised.where)
    assert_same(setting.state(), before)
    raising.clear()
    assert setting.losses() == tuple(canary.loss for canary in setting.canaries)


def test_a_loss_that_differentiates_inside_gets_a_graph() -> None:
    inner: list[LossFunction] = []

    def penalised(batch: Any) -> Tensor:
        x_BF = batch[0].clone().requires_grad_()
        loss = inner[0]((x_BF, batch[1]))
        (gradient,) = torch.autograd.grad(loss, x_BF, create_graph=True)
        return loss + gradient.square().sum()

    model = Parts.of().model
    inner.append(Parts.of(model).loss)
    setting = Setting(penalised, model)
    before = setting.state()
    assert setting.losses() == tuple(canary.loss for canary in setting.canaries)
    assert_same(setting.state(), before)


def test_no_graph_is_built_where_none_is_needed() -> None:
    seen: list[bool] = []
    inner: list[LossFunction] = []

    def loss(batch: Any) -> Tensor:
        seen.append(torch.is_grad_enabled())
        return inner[0](batch)

    model = Parts.of().model
    inner.append(Parts.of(model).loss)
    setting = Setting(loss, model)
    seen.clear()
    setting.losses()
    assert set(seen) == {False}


def test_a_loss_that_writes_to_its_batch_does_not_spoil_the_canary() -> None:
    inner: list[LossFunction] = []

    def loss(batch: Any) -> Tensor:
        batch[0].mul_(2.0)
        return inner[0](batch)

    model = Parts.of().model
    inner.append(Parts.of(model).loss)
    parts = Parts.of(model, loss)
    attempt = parts.measured(clone(BATCHES[0]))
    kept = RecentCanaries(1)
    kept.healthy(attempt)
    (canary,) = kept.usable()
    probing = Probing(parts.subject, parts.executor, 60.0)
    first = probing.losses([canary])
    assert canary.intact
    assert probing.losses([canary]) == first


def test_one_that_takes_too_long_is_given_up() -> None:
    slow: list[bool] = []
    inner: list[LossFunction] = []

    def loss(batch: Any) -> Tensor:
        while slow:
            time.monotonic()
        return inner[0](batch)

    model = Parts.of().model
    inner.append(Parts.of(model).loss)
    setting = Setting(loss, model, seconds=0.05)
    before = setting.state()
    slow.append(True)
    with pytest.raises(ProbeFailed, match=r"longer than 0\.05 s") as failed:
        setting.losses()
    assert failed.value.raised is None
    assert_same(setting.state(), before)
