"""Writing plain values as YAML that reads back to the same."""

from __future__ import annotations

import re
from typing import Any

import yaml

from supervisor.config.yaml_values import FLOAT_PATTERN

__all__ = ["plain_yaml"]


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
