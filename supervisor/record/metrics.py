"""What a user's evaluation returned, as metrics that can go on record, and in words what of it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from supervisor.errors import said_by, with_article

__all__ = ["metrics_in"]

DEEPEST = 4
"""Levels of mappings in mappings that are looked into; one that holds itself has no end."""

MOST = 1000
"""Metrics that are recorded of one evaluation."""

LONGEST_NAME = 200


def metrics_in(returned: object) -> tuple[dict[str, float], list[str]]:
    """The metrics in what `evaluate` returned, and a line for each thing in it that is none.

    A name that is no text is recorded by its text, and what a mapping holds under `outer.inner`. A value is whatever
    `float` takes, text aside: a number, a tensor or an array of one element, NaN and infinities too.

    Args:
        returned: what the user's function gave, anything.

    Raises:
        Exception: the user's own mapping raises as it is read.
    """
    if not isinstance(returned, Mapping):
        return {}, [f"evaluate returned {with_article(returned)}: return a dictionary of names and numbers"]
    metrics: dict[str, float] = {}
    left_out: list[str] = []
    _collect(returned, "", metrics, left_out, 1)
    if len(metrics) > MOST:
        left_out.append(f"evaluate returned {len(metrics)} metrics: the first {MOST} are recorded")
        metrics = dict([*metrics.items()][:MOST])
    return metrics, left_out


def _collect(held: Mapping[Any, Any], prefix: str, metrics: dict[str, float], left_out: list[str], depth: int) -> None:
    for key, value in held.items():
        name = prefix + _name(key)
        if isinstance(value, Mapping):
            if depth < DEEPEST:
                _collect(value, f"{name}.", metrics, left_out, depth + 1)
            else:
                left_out.append(f"metric {name}: lies deeper than {DEEPEST} mappings: left out")
        elif name in metrics:
            left_out.append(f"metric {name}: its name comes twice: only the first is recorded")
        else:
            number, why = _number(value)
            if number is None:
                left_out.append(f"metric {name}: {why}: left out; return a number")
            else:
                metrics[name] = number


def _name(key: object) -> str:
    try:
        text = str(key)
    except Exception:  # noqa: BLE001  (the user's `__str__` may raise anything)
        text = f"of {with_article(key)}"
    # What UTF-8 cannot write would break the line of the log.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")[:LONGEST_NAME]


def _number(value: Any) -> tuple[float | None, str]:
    if isinstance(value, (str, bytes)) or value is None:
        return None, with_article(value)
    try:
        # One with a graph warns when it is made a number.
        return float(value.detach() if isinstance(value, Tensor) else value), ""
    except Exception as error:  # noqa: BLE001  (a value of the user's may raise anything)
        return None, f"{with_article(value)} ({said_by(error)[:LONGEST_NAME]})"
