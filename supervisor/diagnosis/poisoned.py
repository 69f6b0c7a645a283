"""What can be measured about a state that is bad: when it became so, and what the optimizer had to do with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from supervisor.records import Observation
from supervisor.training.norms import dense
from supervisor.training.optimizers import members
from supervisor.training.state import Subject

__all__ = ["Stepper", "stepper_of", "when_it_went_bad"]

_SQUARES = ("exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum")
"""The state that optimizers divide by."""


@dataclass(frozen=True, slots=True)
class Stepper:
    """What steps a parameter.

    Attributes:
        optimizer: its class name.
        dtype: the parameter's, in which it is stepped.
        eps: what the optimizer adds to its divisor, None where it adds nothing.
        facts: what of that is known to give values that are not finite.
    """

    optimizer: str
    dtype: str
    eps: float | None
    facts: tuple[str, ...]

    def __str__(self) -> str:
        eps = "" if self.eps is None else f" with eps {self.eps:g}"
        return f"{self.optimizer} steps it in {self.dtype}{eps}" + "".join(f"; {fact}" for fact in self.facts)


def stepper_of(subject: Subject, name: str) -> Stepper | None:
    """What steps the parameter of this name; None where no optimizer does.

    Args:
        subject: the training objects, as they are after the step.
        name: the parameter's.
    """
    parameter = next((each for each, known in subject.names.items() if known == name), None)
    if parameter is None:
        return None
    for optimizer in members(subject.optimizer):
        for group in optimizer.param_groups:
            if any(each is parameter for each in group["params"]):
                eps = group.get("eps")
                known = float(eps) if isinstance(eps, (int, float)) else None
                facts = tuple(_facts(parameter, optimizer.state.get(parameter, {}), known))
                return Stepper(type(optimizer).__name__, str(parameter.dtype).removeprefix("torch."), known, facts)
    return None


def when_it_went_bad(what: str, seen: Observation, *, undone: bool, finite_before: bool | None) -> str:
    """When something of the state became non-finite, as far as its checks tell.

    Args:
        what: names it, and ends where `was` can follow.
        seen: what the step measured.
        undone: whether the step was discarded before it reached the weights.
        finite_before: whether the state was checked after the step before and was finite; None: not known.
    """
    if not finite_before:
        unknown = "; since when is not known, for the state was not checked right before it"
        when = "before the step" if undone else f"when the state was checked after the step{unknown}"
        return f"{what} was not finite {when}"
    before = f"{what} was finite when the state was checked after the step before"
    if undone:
        return f"{before}, and was not when this one was discarded, before its optimizer had stepped"
    sound = "with a finite loss and finite gradients" if seen.gradient_elements_finite else "with bad gradients"
    return f"{before}, and was not after optimizer.step of this one, {sound}"


def _facts(parameter: Tensor, state: Any, eps: float | None) -> list[str]:
    found = []
    if eps and float(torch.tensor(eps, dtype=parameter.dtype, device="cpu")) == 0:
        found.append(f"that eps is zero in {str(parameter.dtype).removeprefix('torch.')}")
    bad = ~torch.isfinite(dense(parameter))
    for key in _SQUARES:
        held = state.get(key) if isinstance(state, dict) else None
        if isinstance(held, Tensor) and held.shape == bad.shape and bool(bad.any()) and bool((held[bad] == 0).all()):
            found.append(f"{key} is zero wherever {_it(int(bad.sum()), bad.numel())}")
    return found


def _it(count: int, total: int) -> str:
    return f"the parameter is not finite ({count} of {total} elements)"
