"""From the guard's arguments about evaluation to a plan, with every mistake told as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from supervisor.errors import with_article
from supervisor.guard.arguments import refuse
from supervisor.record.run_log import Evaluation
from supervisor.states import BestRule, EvaluationPlan

__all__ = ["plan_of"]

MODES = ("min", "max")


def plan_of(
    evaluate: Evaluation | None, every_steps: int | None, keep_best: Mapping[str, str] | None
) -> EvaluationPlan:
    """What is to be evaluated, and when.

    Args:
        evaluate: the user's function, or None.
        every_steps: `evaluate_every_steps`, or None.
        keep_best: mapping of `metric` and `mode`, or None.

    Raises:
        InputError: an argument is wrong, or needs `evaluate`.
    """
    refuse(_wrong(evaluate, every_steps, keep_best))
    rule = None
    if keep_best is not None:
        rule = BestRule(keep_best["metric"], "min" if keep_best["mode"] == "min" else "max")
    return EvaluationPlan(evaluate, every_steps, rule)


def _wrong(evaluate: object, every_steps: object, keep_best: object) -> Iterator[str]:
    if evaluate is not None and not callable(evaluate):
        yield f"evaluate: {with_article(evaluate)}: give a function that returns a dictionary of names and numbers"
    for name, value in (("evaluate_every_steps", every_steps), ("keep_best", keep_best)):
        if value is not None and evaluate is None:
            yield f"{name}: there is no `evaluate` to call: give one, or leave {name} out"
    if every_steps is not None and (
        not isinstance(every_steps, int) or isinstance(every_steps, bool) or every_steps < 1
    ):
        yield f"evaluate_every_steps: {every_steps!r}: write a whole number, 1 or more"
    if keep_best is None:
        return
    if not isinstance(keep_best, Mapping) or set(keep_best) != {"metric", "mode"}:
        yield 'keep_best: write {"metric": NAME, "mode": "min"} or "max", and nothing else'
    elif not isinstance(keep_best["metric"], str) or not keep_best["metric"]:
        yield f"keep_best: metric: {keep_best['metric']!r}: write the name of a metric that `evaluate` gives"
    elif keep_best["mode"] not in MODES:
        yield f'keep_best: mode: {keep_best["mode"]!r}: write "min" or "max"'
