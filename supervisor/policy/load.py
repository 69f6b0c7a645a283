"""From a file, a mapping or nothing to a resolved policy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from supervisor.config.fixes import problems_of, shown
from supervisor.config.origins import KeyPath, Origins, Problem, refuse
from supervisor.config.yaml_source import Document, read_yaml
from supervisor.policy.model import RecoveryPolicy

__all__ = ["check_policy", "load_policy"]


def load_policy(source: str | Path | Mapping[str, Any] | RecoveryPolicy | None) -> RecoveryPolicy:
    """The policy that `source` describes, resolved: defaults filled in, `halt` at the end of the ladder.

    Args:
        source: the path of a YAML file, a mapping with the same keys, a policy (returned as it is), or None
            for the built-in default.

    Raises:
        InputError: every problem at once, one a line, as `file:line: key: what is wrong: what to write`. For
            a mapping, `policy` stands in for the file and its line.
    """
    if source is None:
        return RecoveryPolicy()
    if isinstance(source, RecoveryPolicy):
        return source
    if isinstance(source, Mapping):
        document = Document(_plain(source), Origins("policy"))
    elif isinstance(source, str | os.PathLike):
        document = read_yaml(os.fspath(source), "policy")
    else:
        document = Document(source, Origins("policy"))
    policy, problems = check_policy(document)
    refuse(problems)
    assert policy is not None
    return policy


def _plain(value: Any) -> Any:
    """Any kind of mapping as a `dict`, the one kind that pydantic reads."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def check_policy(document: Document, *, prefix: KeyPath = ()) -> tuple[RecoveryPolicy | None, list[Problem]]:
    """The policy a document describes, or all that is wrong with it.

    Args:
        document: what was read.
        prefix: shown before every key, for a policy inside a job.
    """
    problems = list(document.problems)
    if not isinstance(document.value, Mapping):
        if problems:
            return None, problems
        what = "is empty" if document.value is None else f"{shown(document.value)} is not a mapping"
        mend = "write at least `version: 1`" if document.value is None else "write keys and values, as `version: 1`"
        return None, [document.origins.problem((), what, mend, prefix=prefix)]
    policy = None
    try:
        policy = RecoveryPolicy.model_validate(dict(document.value))
    except ValidationError as error:
        found = problems_of(error, RecoveryPolicy, document.value, document.origins, prefix=prefix)
        problems += [each for each in found if each.path[len(prefix) :] not in document.unreadable]
    return (None if problems else policy), problems
