"""`--set a.b=value`: changing single values of a job or its policy from the command line."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from supervisor.config.fixes import shown
from supervisor.config.origins import KeyPath, Origins, Place, Problem, dotted, one_line
from supervisor.config.yaml_source import parse_yaml
from supervisor.errors import InputError

__all__ = ["Override", "apply_overrides", "parse_override"]

_INDEX = re.compile(r"^(?:0|[1-9][0-9]{0,5})$")


@dataclass(frozen=True)
class Override:
    """One `--set`.

    Attributes:
        flag: as it is shown in messages.
        path: the keys, as text.
        value: plain values.
    """

    flag: str
    path: tuple[str, ...]
    value: Any

    def below(self, prefix: str) -> Override:
        """The same, addressed from inside the part named `prefix`."""
        return Override(self.flag, self.path[1:], self.value) if self.path[0] == prefix else self


def parse_override(text: str) -> Override:
    """Read what was typed behind `--set`.

    Args:
        text: `a.b=value`; the value is YAML: a number, text, or `{...}` and `[...]`.

    Raises:
        InputError: it has no `=`, an empty key or a value that is not YAML.
    """
    key, equals, written = text.partition("=")
    flag = one_line(f"--set {text if len(text) <= 60 else f'{text[:57]}...'}")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(f"{flag}: is not UTF-8 text: write plain characters")
    if not equals:
        raise InputError(f"{flag}: has no `=`: write `--set {key.strip() or 'steps'}=value`")
    path = tuple(part.strip() for part in key.split("."))
    if not all(path):
        raise InputError(f"{flag}: `{key}` has an empty part: write keys with dots between, as `config.width=8`")
    document = parse_yaml(written, flag, lines=False)
    if document.problems:
        raise InputError(*(f"{flag}: {each.what}: {each.mend}" for each in document.problems))
    word = one_line(written.strip()[:40])
    if isinstance(document.value, dict | list) and word[:1] not in {"{", "["}:
        raise InputError(f"{flag}: `{word}` is not one value: put it in quotes, or in {{...}} or [...]")
    if document.value is None and word.startswith("#"):
        raise InputError(f"{flag}: `{word}` is a comment in YAML: put it in quotes")
    return Override(flag, path, document.value)


def apply_overrides(
    value: dict[Any, Any], origins: Origins, overrides: Iterable[Override], *, prefix: KeyPath = ()
) -> tuple[dict[Any, Any], Origins, list[Problem]]:
    """A copy of plain values with the overrides applied in their order.

    Args:
        value: a job or a policy.
        origins: where its values were written.
        overrides: addressed from the top of `value`.
        prefix: shown before every key.

    Returns:
        The new values, their origins, and the overrides that lead nowhere.
    """
    changed = copy.deepcopy(value)
    problems = []
    for override in overrides:
        path: KeyPath = ()
        container: Any = changed
        for depth, part in enumerate(override.path):
            last = depth == len(override.path) - 1
            key = _key(container, part)
            if key is None:
                parent = dotted((*prefix, *path))
                place = Place(override.flag, (1, 0), 0)
                if isinstance(container, list):
                    what = f"`{parent}` has no item `{part}`"
                    mend = f"write a number from 0 to {len(container) - 1}" if container else "set the whole list"
                else:
                    what, mend = (
                        f"`{parent}` is {shown(container)}, not a mapping",
                        f"write `--set {parent}=...`",
                    )
                problems.append(Problem(place, (), what, mend))
                break
            path = (*path, key)
            if last:
                container[key] = override.value
                origins = origins.with_flag(path, override.flag)
                break
            if isinstance(container, dict) and container.get(key) is None:
                container[key] = {}
                origins = origins.with_flag(path, override.flag)
            container = container[key]
    return changed, origins, problems


def _key(container: Any, part: str) -> str | int | None:
    """The key or index that `part` means in a container; None where it leads nowhere."""
    if isinstance(container, list):
        return int(part) if _INDEX.match(part) and int(part) < len(container) else None
    if isinstance(container, dict):
        # A file may hold numbers as keys; a flag has only text to name them with.
        return int(part) if part not in container and _INDEX.match(part) and int(part) in container else part
    return None
