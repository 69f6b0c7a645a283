"""Checking a whole document against its model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from supervisor.config.fixes import problems_of, shown
from supervisor.config.origins import KeyPath, Problem
from supervisor.config.yaml_values import Document

__all__ = ["check"]

_Model = TypeVar("_Model", bound=BaseModel)


def check(
    model: type[_Model], document: Document, example: str, *, prefix: KeyPath = ()
) -> tuple[_Model | None, list[Problem]]:
    """What a document says, or all that is wrong with it.

    Args:
        model: what it should be.
        document: what was read.
        example: the least that can be written, for the message about a document that is no mapping.
        prefix: added before every key, for a policy inside a job.

    Returns:
        The model, or None where there is a problem; and the problems.
    """
    problems = list(document.problems)
    value = document.value
    if not isinstance(value, Mapping):
        if not problems:
            what = "is empty" if value is None else f"{shown(value)} is not a mapping"
            fix = "write at least" if value is None else "write keys and values, as"
            problems.append(document.origins.problem((), what, f"{fix} {example}", prefix=prefix))
        return None, problems
    found = None
    try:
        found = model.model_validate(dict(value))
    except ValidationError as error:
        told = problems_of(error, model, value, document.origins, prefix=prefix)
        problems += [each for each in told if each.path[len(prefix) :] not in document.unreadable]
    return (None if problems else found), problems
