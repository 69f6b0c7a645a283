"""A policy as plain values, as YAML that reads back to an equal policy, and the JSON Schema of every policy."""

from __future__ import annotations

from typing import Any

from supervisor.config.yaml_values import plain_yaml
from supervisor.policy.model import RecoveryPolicy
from supervisor.policy.reactions import Reactions

__all__ = ["plain_policy", "policy_json_schema", "resolved_yaml"]


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
