"""Job and policy as resolved, as text, without what is secret in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supervisor.config.yaml_source import read_yaml
from supervisor.config.yaml_values import plain_yaml
from supervisor.errors import InputError

__all__ = ["HIDDEN", "resolved_text", "without_secrets"]

HIDDEN = "(hidden)"
"""What stands on the page instead of a secret."""

# Where a run tells others of itself, an address can be as secret as a password: who has it may write there.
_OF_SINKS = re.compile(
    r"url|uri|endpoint|webhook|header|token|secret|passw|passphrase|credential|cookie|auth|dsn|key|user", re.IGNORECASE
)
_ANYWHERE = re.compile(
    r"secret|passw|passphrase|credential|cookie|authori[sz]ation|bearer|webhook"
    r"|(?:^|[_\-. ])(?:api|access|auth|private|signing|bot|refresh)[_\-. ]?(?:key|token)s?$|^tokens?$|dsn$",
    re.IGNORECASE,
)
_MAPPINGS = re.compile(r"header|cookie|auth|credential|secret", re.IGNORECASE)
_NAMES_ONE = re.compile(r"_(?:env|name)$", re.IGNORECASE)
# The user and the password of an address: https://user:password@host.
_IN_AN_ADDRESS = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_SINKS = "sinks"


def resolved_text(path: Path, kind: str) -> str:
    """A file of a run directory as YAML, every secret hidden; why it cannot be shown, where it cannot be.

    Args:
        path: the file.
        kind: what it is: `job` or `policy`.
    """
    if not path.is_file():
        return f"# This run has no {path.name}: it was started from a program of one's own."
    try:
        document = read_yaml(str(path), kind)
    except InputError as error:
        # What cannot be read is not shown either: a secret in it would not be known as one.
        return f"# {path.name} cannot be shown: {_without_quotes(error)}"
    return plain_yaml(without_secrets(document.value))


def without_secrets(value: Any, *, in_sinks: bool = False) -> Any:
    """Plain values of a file, what looks like a secret replaced.

    Args:
        value: mappings, lists, and what they hold.
        in_sinks: whether it stands below `sinks`, where addresses, headers and tokens are secrets too.
    """
    if isinstance(value, Mapping):
        return {
            key: HIDDEN
            if _is_secret(str(key), each, in_sinks)
            else without_secrets(each, in_sinks=in_sinks or key == _SINKS)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_secrets(each, in_sinks=in_sinks) for each in value]
    return _IN_AN_ADDRESS.sub(HIDDEN, value) if isinstance(value, str) else value


def _is_secret(key: str, value: Any, in_sinks: bool) -> bool:
    if value is None or isinstance(value, bool) or _NAMES_ONE.search(key):
        return False
    if isinstance(value, Mapping):
        # The settings of a sink have its name, as `webhook`; what is in them is looked at.
        return in_sinks and bool(_MAPPINGS.search(key))
    return bool((_OF_SINKS if in_sinks else _ANYWHERE).search(key))


def _without_quotes(error: InputError) -> str:
    return error.problems[0].partition(": ")[2].partition(":")[0] or "it is not readable YAML"
