"""When a state became bad, and what stepped it."""

from __future__ import annotations

import math

import pytest
import torch
from support.parts import Parts
from torch import nn

from supervisor.diagnosis.poisoned import stepper_of, when_it_went_bad
from supervisor.records import Observation

SEEN = Observation(step=3, update=3, loss=1.0, grad_norm=1.0)


def stepped(dtype: torch.dtype, eps: float, gradient: float) -> Parts:
    """Parts whose weights one update of Adam's has reached, with the same small gradient everywhere."""
    model = nn.Sequential(nn.Linear(4, 3)).to(dtype)
    parts = Parts.of(model, lambda batch: model(batch).sum(), optimizer=torch.optim.Adam(model.parameters(), eps=eps))
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, gradient)
    parts.executor.step_optimizer()
    return parts


class TestStepper:
    def test_an_eps_that_the_type_cannot_hold_is_measured(self) -> None:
        parts = stepped(torch.float16, 1e-8, 1e-4)
        weight = parts.model.get_parameter("0.weight")
        assert not torch.isfinite(weight).any()
        found = stepper_of(parts.subject, "0.weight")
        assert found is not None
        assert (found.optimizer, found.dtype, found.eps) == ("Adam", "float16", 1e-8)
        assert str(found) == (
            "Adam steps it in float16 with eps 1e-08; that eps is zero in float16; "
            "exp_avg_sq is zero wherever the parameter is not finite (12 of 12 elements)"
        )

    @pytest.mark.parametrize(("dtype", "eps"), [(torch.float16, 1e-4), (torch.float32, 1e-8)])
    def test_one_that_it_can_hold_gives_finite_weights_and_no_fact(self, dtype: torch.dtype, eps: float) -> None:
        parts = stepped(dtype, eps, 1e-4)
        assert torch.isfinite(parts.model.get_parameter("0.weight")).all()
        found = stepper_of(parts.subject, "0.weight")
        assert found is not None
        assert found.facts == ()

    def test_an_optimizer_without_one(self) -> None:
        model = nn.Linear(2, 2)
        parts = Parts.of(model, lambda batch: model(batch).sum(), optimizer=torch.optim.SGD(model.parameters(), 0.1))
        assert str(stepper_of(parts.subject, "weight")) == "SGD steps it in float32"

    def test_what_no_optimizer_steps_has_none(self) -> None:
        model = nn.Linear(2, 2)
        parts = Parts.of(model, lambda batch: model(batch).sum(), optimizer=torch.optim.SGD([model.weight], 0.1))
        assert stepper_of(parts.subject, "bias") is stepper_of(parts.subject, "no such") is None


class TestWhen:
    @pytest.mark.parametrize("undone", [True, False])
    def test_it_is_not_known_where_the_state_was_not_checked_before(self, undone: bool) -> None:
        said = when_it_went_bad("w", SEEN, undone=undone, finite_before=None)
        assert said.startswith("w was not finite before the step" if undone else "w was not finite when the state was")
        assert ("since when is not known" in said) is not undone

    def test_the_optimizers_step_lies_between_two_checks(self) -> None:
        assert when_it_went_bad("w", SEEN, undone=False, finite_before=True) == (
            "w was finite when the state was checked after the step before, and was not after optimizer.step of this "
            "one, with a finite loss and finite gradients"
        )

    def test_it_does_not_where_the_step_was_discarded(self) -> None:
        seen = Observation(step=3, update=3, loss=math.nan, grad_norm=math.nan)
        assert when_it_went_bad("w", seen, undone=True, finite_before=True) == (
            "w was finite when the state was checked after the step before, and was not when this one was discarded, "
            "before its optimizer had stepped"
        )
