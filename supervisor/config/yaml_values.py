"""From composed YAML nodes to plain values, each with its line. Nothing here can build a Python object.

The YAML 1.2 core rules decide what a plain word is: `1e-4` is a number, `true` and `false` alone are
booleans, `010` is ten, a date is text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from supervisor.config.origins import KeyPath, Origins, Problem

__all__ = ["FLOAT_PATTERN", "MAX_DEPTH", "Document", "Yaml12Loader", "document_of"]

_MAX_VALUES = 50_000
_MAX_CHARACTERS = 1024 * 1024
MAX_DEPTH = 50

_CORE = "tag:yaml.org,2002:"
FLOAT_PATTERN = re.compile(
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
"""What YAML 1.2 reads as a number with a fraction or an exponent."""
_INT = re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$")
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = frozenset({"~", "null", "Null", "NULL", ""})


class Yaml12Loader(yaml.SafeLoader):
    """Composes nodes; what a plain word means is decided by the YAML 1.2 core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


Yaml12Loader.add_implicit_resolver(_CORE + "null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
Yaml12Loader.add_implicit_resolver(_CORE + "bool", re.compile(f"^(?:{'|'.join(_BOOLS)})$"), list("tTfF"))
Yaml12Loader.add_implicit_resolver(_CORE + "int", _INT, list("-+0123456789"))
Yaml12Loader.add_implicit_resolver(_CORE + "float", FLOAT_PATTERN, list("-+.0123456789"))
Yaml12Loader.add_implicit_resolver(_CORE + "merge", re.compile(r"^<<$"), ["<"])


@dataclass(frozen=True)
class Document:
    """What a file says.

    Attributes:
        value: plain values: mappings, lists, text, numbers, booleans, None.
        origins: the line of each.
        problems: what is wrong with it as YAML.
        unreadable: the paths whose values could not be read; None stands in for them.
    """

    value: Any
    origins: Origins
    problems: tuple[Problem, ...] = ()
    unreadable: frozenset[KeyPath] = frozenset()


def document_of(node: yaml.Node, name: str, *, lines: bool) -> Document:
    """The plain values of a composed document.

    Args:
        node: its root.
        name: what messages call the source.
        lines: whether messages name lines.
    """
    reader = _Reader(name, lines)
    value = reader.value(node, (), 0)
    return Document(value, reader.origins, tuple(reader.problems), frozenset(reader.unreadable))


class _Reader:
    """Turns composed nodes into plain values, noting lines and mistakes."""

    def __init__(self, name: str, lines: bool) -> None:
        self._lines: dict[KeyPath, int] = {}
        self._note_lines = lines
        self._values_left = _MAX_VALUES
        self._characters_left = _MAX_CHARACTERS
        self._open: set[int] = set()
        self.origins = Origins(name, self._lines)
        self.problems: list[Problem] = []
        self.unreadable: set[KeyPath] = set()

    def value(self, node: yaml.Node, path: KeyPath, depth: int) -> Any:
        if self._note_lines:
            self._lines.setdefault(path, node.start_mark.line + 1)
        self._values_left -= 1
        if depth > MAX_DEPTH:
            return self._wrong(path, "is nested too deeply", f"write at most {MAX_DEPTH} levels")
        if self._values_left < 0 or self._characters_left < 0:
            if self._values_left > -_MAX_VALUES:
                self._values_left = -_MAX_VALUES
                self._wrong(path, "the file grows too large as its aliases are filled in", "write fewer aliases")
            return None
        if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
            return self._scalar(node, path)
        if id(node) in self._open:
            return self._wrong(path, "holds itself through an alias", "write the value out")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode) and node.tag == _CORE + "map":
                return self._mapping(node, path, depth)
            if isinstance(node, yaml.SequenceNode) and node.tag == _CORE + "seq":
                return [self.value(item, (*path, index), depth + 1) for index, item in enumerate(node.value)]
        finally:
            self._open.discard(id(node))
        tag = node.tag.replace(_CORE, "!!") if node.tag.startswith(_CORE) else node.tag
        return self._wrong(path, f"the tag `{tag}` is not allowed", "remove it and write plain values")

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        self._characters_left -= len(node.value)
        try:
            value = _SCALARS[node.tag](node.value)
        except (KeyError, ValueError):
            kind = node.tag.removeprefix(_CORE)
            mend = "write fewer digits" if _INT.match(node.value) else "remove the tag"
            return self._wrong(path, f"`{node.value[:40]}` cannot be read as !!{kind}", mend)
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            return self._wrong(path, "holds half of a character (a lone surrogate)", "write the whole character")
        return value

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, depth: int) -> dict[Any, Any]:
        written: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        # Merged keys come first, so that the lines of the keys written here win over theirs.
        for key_node, value_node in node.value:
            if key_node.tag == _CORE + "merge":
                self._merge(value_node, path, depth, merged)
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _CORE + "merge":
                continue
            is_word = isinstance(key_node, yaml.ScalarNode) and key_node.tag in _SCALARS
            key = self._scalar(key_node, path) if is_word else None
            if isinstance(key, bool) or not isinstance(key, str | int):
                shown = key_node.value if isinstance(key_node, yaml.ScalarNode) else "a list or mapping"
                self._wrong(path, f"`{shown}` cannot be a key", "write a name, in quotes where needed", line)
                continue
            if key in written:
                first = self._lines.get((*path, key))
                where = f" (first in line {first})" if first else ""
                self._wrong((*path, key), f"is written twice{where}", "keep one of the two", line)
                continue
            if self._note_lines:
                self._lines[(*path, key)] = line
            written[key] = self.value(value_node, (*path, key), depth + 1)
        return {**merged, **written} if merged else written

    def _merge(self, node: yaml.Node, path: KeyPath, depth: int, merged: dict[Any, Any]) -> None:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                line = source.start_mark.line + 1
                self._wrong((*path, "<<"), "does not name a mapping", "write `<<: *anchor` of a mapping", line)
                continue
            for key, value in (self.value(source, path, depth + 1) or {}).items():
                merged.setdefault(key, value)

    def _wrong(self, path: KeyPath, what: str, mend: str, line: int | None = None) -> None:
        shown = tuple(part for part in path if isinstance(part, str | int))
        place = self.origins.place(shown)
        if line is not None and self._note_lines:
            place = place._replace(text=f"{self.origins.name}:{line}", rank=(0, line))
        else:
            self.unreadable.add(shown)
        self.problems.append(Problem(place, shown, what, mend))


def _int(text: str) -> int:
    if not _INT.match(text):
        raise ValueError(text)
    return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)


def _float(text: str) -> float:
    if not FLOAT_PATTERN.match(text) and not _INT.match(text):
        raise ValueError(text)
    return float(text.replace(".inf", "inf").replace(".nan", "nan") if "." in text else text)


def _null(text: str) -> None:
    if text not in _NULLS:
        raise ValueError(text)


_SCALARS: dict[str, Callable[[str], Any]] = {
    _CORE + "str": str,
    _CORE + "int": _int,
    _CORE + "float": lambda text: _float(text.lower()),
    _CORE + "bool": _BOOLS.__getitem__,
    _CORE + "null": _null,
}
