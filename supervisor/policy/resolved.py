"""Writing a policy, or any plain values, as YAML that reads back to the same."""

from __future__ import annotations

import re
from typing import Any

import yaml

from supervisor.policy.model import RecoveryPolicy
from supervisor.policy.reactions import Reactions
from supervisor.policy.yaml_values import FLOAT_PATTERN

__all__ = ["plain_policy", "plain_yaml", "resolved_yaml"]


class _Yaml12Dumper(yaml.SafeDumper):
    """Also quotes the text that YAML 1.2 would read as a number, and writes no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        # The other styles fold line breaks that are not a plain "\n", as U+0085, and do not give them back.
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Yaml12Dumper.add_representer(str, _Yaml12Dumper.represent_text)
_Yaml12Dumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT_PATTERN, list("-+.0123456789"))
_Yaml12Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+)$"), list("-+0123456789")
)


def plain_yaml(value: Any) -> str:
    """Plain values as YAML, keys in their order, the innermost collections on one line."""
    return yaml.dump(
        value, Dumper=_Yaml12Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None
    )


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
