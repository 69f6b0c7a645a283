"""The loss of a model that says nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.exact import assert_same
from support.parts import BATCHES, Parts
from support.traces import all_of
from torch import nn

from supervisor.experiments.zero_output import zero_output_losses

UPDATES = [(batch,) for batch in BATCHES[:3]]


class Dressed(nn.Module):
    """A linear layer whose output lies in a dictionary, beside a number."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3)

    def forward(self, x_BF: Any) -> dict[str, Any]:
        return {"logits": (self.inner(x_BF),), "rows": len(x_BF)}


def losses_of(loss: Any, model: nn.Module | None = None, **given: Any) -> list[float] | None:
    parts = Parts.of(model, loss, **given)
    before = all_of(parts.subject)
    found = zero_output_losses(parts.subject, parts.executor, UPDATES)
    assert_same(all_of(parts.subject), before)
    assert not parts.model._forward_hooks
    return found


def test_a_classifier_that_says_nothing_gives_every_class_the_same_chance() -> None:
    assert losses_of(None) == pytest.approx([math.log(3)] * 3)


def test_the_structure_of_the_output_stays() -> None:
    model = Dressed()

    def loss(batch: Any) -> Any:
        out = model(batch[0])
        return nn.functional.cross_entropy(out["logits"][0], batch[1]) * out["rows"] / len(batch[0])

    assert losses_of(loss, model) == pytest.approx([math.log(3)] * 3)


def test_a_loss_that_differentiates_inside_is_given_a_graph() -> None:
    model = nn.Linear(4, 3)

    def loss(batch: Any) -> Any:
        x_BF = batch[0].clone().requires_grad_()
        out = model(x_BF)
        (slope,) = torch.autograd.grad(out.sum(), x_BF, create_graph=True, allow_unused=True)
        return nn.functional.cross_entropy(out, batch[1]) + (0 if slope is None else slope.sum())

    assert losses_of(loss, model) == pytest.approx([math.log(3)] * 3)


class GivesTheLoss(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3)

    def forward(self, batch: Any) -> Any:
        return nn.functional.cross_entropy(self.inner(batch[0]), batch[1])


def test_where_the_root_gives_the_loss_itself_there_is_none() -> None:
    model = GivesTheLoss()
    assert losses_of(lambda batch: model(batch) + 1.0, model) is None


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_a_loss_that_cannot_be_compared_by_factors_gives_none(value: float) -> None:
    model = nn.Linear(4, 3)
    assert losses_of(lambda batch: model(batch[0]).sum() * 0 + value, model) is None


def test_what_cannot_be_done_gives_none() -> None:
    model = nn.Linear(4, 3)

    def raises(batch: Any) -> Any:
        raise RuntimeError("no")

    assert losses_of(raises, model) is None
    assert losses_of(lambda batch: (batch[0] @ model.weight.T).square().sum(), model) is None, "never called"
    assert losses_of(None, replayed=False) is None
    parts = Parts.of()
    assert zero_output_losses(parts.subject, parts.executor, []) is None
