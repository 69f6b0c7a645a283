"""`--set a.b=value`: changing single values of a job or its policy from the command line.

A flag does not hide a mistake in the value that it replaces: every value is checked as it was written.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from supervisor.config.fixes import shown
from supervisor.config.origins import KeyPath, Place, Problem, dotted, one_line
from supervisor.config.yaml_source import parse_yaml
from supervisor.config.yaml_values import Document
from supervisor.errors import InputError

__all__ = ["Override", "apply_overrides", "parse_override"]

_Model = TypeVar("_Model")
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
    told = f"{key}=..." if _is_secret(key) else text
    flag = one_line(f"--set {told if len(told) <= 60 else f'{told[:57]}...'}")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(f"{flag}: is not UTF-8 text: write plain characters")
    if not equals:
        raise InputError(f"{flag}: has no `=`: write `--set {key.strip() or 'steps'}=value`")
    path = tuple(part.strip() for part in key.split("."))
    if not all(path):
        raise InputError(f"{flag}: `{key}` has an empty part: write keys with dots between, as `config.width=8`")
    document = parse_yaml(written, flag, lines=False)
    if document.problems:
        raise InputError(*(f"{flag}: {each.what}: {each.fix}" for each in document.problems))
    word = one_line(written.strip()[:40])
    if isinstance(document.value, dict | list) and word[:1] not in {"{", "["}:
        raise InputError(f"{flag}: `{word}` is not one value: put it in quotes, or in {{...}} or [...]")
    if document.value is None and word.startswith("#"):
        raise InputError(f"{flag}: `{word}` is a comment in YAML: put it in quotes")
    return Override(flag, path, document.value)


def _is_secret(key: str) -> bool:
    """Whether the value may hold the address of a webhook, which no message tells."""
    return key.strip() == "sinks" or key.strip().startswith("sinks.webhook")


def apply_overrides(
    document: Document,
    overrides: Iterable[Override],
    check: Callable[[Document], tuple[_Model | None, list[Problem]]],
    *,
    prefix: KeyPath = (),
) -> tuple[Document, _Model | None, list[Problem]]:
    """A document with overrides applied in their order, and checked after each of them.

    So a wrong value is reported although a later one replaces it. What a later override may still complete (a key
    that is missing, keys that contradict each other) is reported only if it stands in the end, or if the whole
    section around it is replaced.

    Args:
        document: a job or a policy.
        overrides: addressed from the top of the document.
        check: what the document says, or all that is wrong with it.
        prefix: added before every key, for the policy of a job.

    Returns:
        The document with the overrides, what it says, and every problem; overrides that lead nowhere are among them.
    """
    problems: list[Problem] = []
    for override in overrides:
        _, found = check(document)
        document, path, misdirected = _applied(document, override, prefix)
        replaced = (*prefix, *path)
        problems += [each for each in found if each.section is None or each.section[: len(replaced)] == replaced]
        problems += misdirected
    model, found = check(document)
    return document, model, [*problems, *found]


def _applied(document: Document, override: Override, prefix: KeyPath) -> tuple[Document, KeyPath, list[Problem]]:
    """A copy with one override applied, the path it leads to, and a problem where it leads nowhere."""
    changed, origins = copy.deepcopy(document.value), document.origins
    container: Any = changed
    path: KeyPath = ()
    for part in override.path:
        key = _key(container, part)
        if key is None:
            return document, override.path, [_misdirected(override, container, part, dotted((*prefix, *path)))]
        path = (*path, key)
        if len(path) == len(override.path):
            container[key] = override.value
            origins = origins.with_flag(path, override.flag)
        elif isinstance(container, dict) and container.get(key) is None:
            container[key] = {}
            origins = origins.with_flag(path, override.flag)
        container = container[key]
    return replace(document, value=changed, origins=origins), path, []


def _misdirected(override: Override, container: Any, part: str, parent: str) -> Problem:
    if isinstance(container, list):
        what = f"`{parent}` has no item `{part}`"
        fix = f"write a number from 0 to {len(container) - 1}" if container else "set the whole list"
    else:
        what, fix = f"`{parent}` is {shown(container)}, not a mapping", f"write `--set {parent}=...`"
    return Problem(Place(override.flag, (1, 0), 0), (), what, fix)


def _key(container: Any, part: str) -> str | int | None:
    """The key or index that `part` means in a container; None where it leads nowhere."""
    if isinstance(container, list):
        return int(part) if _INDEX.match(part) and int(part) < len(container) else None
    if isinstance(container, dict):
        # A file may hold numbers as keys; a flag has only text to name them with.
        return int(part) if part not in container and _INDEX.match(part) and int(part) in container else part
    return None
