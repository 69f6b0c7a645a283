"""From a file, a mapping or nothing to a resolved policy, and back to YAML; and the JSON Schema of such files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supervisor.config.check import check
from supervisor.config.origins import KeyPath, Origins, Problem, refuse
from supervisor.config.yaml_source import read_yaml
from supervisor.config.yaml_values import Document, plain_yaml
from supervisor.policy.model import RecoveryPolicy
from supervisor.policy.reactions import Reactions

__all__ = ["check_policy", "is_policy", "load_policy", "plain_policy", "policy_json_schema", "resolved_yaml"]


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
        document = read_yaml(os.fspath(source), "policy", fits=is_policy)
    else:
        document = Document(_plain(source), Origins("policy"))
    policy, problems = check_policy(document)
    refuse(problems)
    assert policy is not None
    return policy


def is_policy(document: Document) -> bool:
    """Whether a document is a policy without a mistake."""
    return not check_policy(document)[1]


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


def resolved_yaml(policy: RecoveryPolicy) -> str:
    """The whole policy as YAML, defaults and the last `halt` included; it loads back to an equal policy."""
    return plain_yaml(plain_policy(policy))


def plain_policy(policy: RecoveryPolicy, *, written_reactions_only: bool = False) -> dict[str, Any]:
    """The whole policy as plain values.

    Args:
        policy: what to write down.
        written_reactions_only: leave out the default reactions, so that they adapt to a changed ladder.
    """
    values = policy.model_dump(mode="json")
    default = Reactions().model_dump(mode="json")
    actions = {rung.action.value for rung in policy.ladder}

    def says_something(signal: str, reaction: str | None) -> bool:
        if written_reactions_only:
            return signal in policy.reactions.model_fields_set
        # A default that does not apply to this ladder goes without saying.
        return reaction is not None or default[signal] in {*actions, "observe"}

    values["reactions"] = {
        signal: reaction for signal, reaction in values["reactions"].items() if says_something(signal, reaction)
    }
    return values


def policy_json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a policy file, for editors, with a description of every key."""
    schema = RecoveryPolicy.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema
