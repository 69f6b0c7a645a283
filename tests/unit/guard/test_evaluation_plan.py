"""From the guard's arguments to a plan of evaluations."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.errors import InputError
from supervisor.guard.evaluation_plan import plan_of
from supervisor.states import BestRule, EvaluationPlan


def evaluate() -> dict[str, float]:
    return {}


def test_what_is_given_is_the_plan() -> None:
    assert plan_of(None, None, None) == EvaluationPlan()
    plan = plan_of(evaluate, 50, {"metric": "mrr", "mode": "max"})
    assert plan == EvaluationPlan(evaluate, 50, BestRule("mrr", "max"))
    assert plan_of(evaluate, None, {"metric": "loss", "mode": "min"}).keep_best == BestRule("loss", "min")


BEST = {"metric": "mrr", "mode": "max"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((3, None, None), r"evaluate: an int: give a function that returns a dictionary"),
        ((None, 50, None), r"evaluate_every_steps: there is no `evaluate` to call: give one, or leave"),
        ((None, None, BEST), r"keep_best: there is no `evaluate` to call"),
        ((evaluate, 0, None), r"evaluate_every_steps: 0: write a whole number, 1 or more"),
        ((evaluate, True, None), r"evaluate_every_steps: True: write"),
        ((evaluate, 2.5, None), r"evaluate_every_steps: 2.5: write"),
        ((evaluate, 1, "mrr"), r'keep_best: write \{"metric": NAME, "mode": "min"\} or "max"'),
        ((evaluate, 1, {"metric": "mrr"}), r'keep_best: write \{"metric": NAME'),
        ((evaluate, 1, {**BEST, "keep": 1}), r'keep_best: write \{"metric": NAME'),
        ((evaluate, 1, {**BEST, "metric": ""}), r"keep_best: metric: '': write the name of a metric"),
        ((evaluate, 1, {**BEST, "mode": "most"}), r"keep_best: mode: 'most': write \"min\" or \"max\""),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_mend(arguments: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        plan_of(*arguments)
