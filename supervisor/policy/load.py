"""From a file, a mapping or nothing to a resolved policy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supervisor.config.check import check
from supervisor.config.origins import KeyPath, Origins, Problem, refuse
from supervisor.config.yaml_source import read_yaml
from supervisor.config.yaml_values import Document
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
    if isinstance(source, str | os.PathLike):
        document = read_yaml(os.fspath(source), "policy")
    else:
        document = Document(_plain(source), Origins("policy"))
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
    return check(RecoveryPolicy, document, "`version: 1`", prefix=prefix)
