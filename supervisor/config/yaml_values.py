"""From composed YAML nodes to plain values, each with its line, and back. Nothing here can build a Python object.

The YAML 1.2 core rules decide what a plain word is: `1e-4` is a number, `true` and `false` alone are
booleans, `010` is ten, a date is text.
"""

from __future__ import annotations

import bisect
import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from supervisor.config.origins import KeyPath, Origins, Problem

__all__ = ["MAX_DEPTH", "Document", "LineOf", "Yaml12Loader", "document_of", "lines_of", "plain_yaml"]

_MAX_VALUES = 50_000
_MAX_CHARACTERS = 1024 * 1024
MAX_DEPTH = 50

_CORE = "tag:yaml.org,2002:"
_FLOAT = re.compile(
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
"""What YAML 1.2 reads as a number with a fraction or an exponent."""
_INT = re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$")
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = frozenset({"~", "null", "Null", "NULL", ""})


class Yaml12Loader(yaml.SafeLoader):
    """Composes nodes; what a plain word means is decided by the YAML 1.2 core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def __init__(self, stream: Any) -> None:
        self.scalars: list[yaml.ScalarToken] = []
        """The plain and quoted words so far, to tell where a syntax error began."""
        super().__init__(stream)

    def scan_plain(self) -> yaml.ScalarToken:
        """The next plain word, noted."""
        self.scalars.append(super().scan_plain())
        return self.scalars[-1]

    def scan_flow_scalar(self, style: str) -> yaml.ScalarToken:
        """The next quoted word, noted."""
        self.scalars.append(super().scan_flow_scalar(style))
        return self.scalars[-1]

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """The next node. PyYAML returns the node of the anchor for an alias, with the line of the anchor."""
        alias: yaml.Event | None = self.peek_event() if self.check_event(yaml.AliasEvent) else None  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        if alias is None or node is None:
            return node
        node = copy.copy(node)
        node.start_mark = alias.start_mark
        return node


Yaml12Loader.add_implicit_resolver(_CORE + "null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
Yaml12Loader.add_implicit_resolver(_CORE + "bool", re.compile(f"^(?:{'|'.join(_BOOLS)})$"), list("tTfF"))
Yaml12Loader.add_implicit_resolver(_CORE + "int", _INT, list("-+0123456789"))
Yaml12Loader.add_implicit_resolver(_CORE + "float", _FLOAT, list("-+.0123456789"))
Yaml12Loader.add_implicit_resolver(_CORE + "merge", re.compile(r"^<<$"), ["<"])


LineOf: TypeAlias = Callable[[int], int]


def lines_of(text: str) -> LineOf:
    """What gives the line, from 1, of an index of `text`. PyYAML's own lines also end at U+0085, U+2028 and U+2029."""
    ends = [match.end() for match in re.finditer(r"\r\n?|\n", text)]
    return lambda position: bisect.bisect_right(ends, position) + 1


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

    def below(self, key: str) -> Document:
        """The value of one key as a document of its own. Its `problems` stay with the whole."""
        inside = frozenset(path[1:] for path in self.unreadable if path[:1] == (key,))
        return Document(self.value[key], self.origins.below((key,)), (), inside)


def document_of(node: yaml.Node, name: str, lines: LineOf | None) -> Document:
    """The plain values of a composed document.

    Args:
        node: its root.
        name: what messages call the source.
        lines: gives the line of an index of its text; None where messages name no lines.
    """
    reader = _Reader(name, lines)
    value = reader.value(node, (), 0)
    return Document(value, reader.origins, tuple(reader.problems), frozenset(reader.unreadable))


class _Reader:
    """Turns composed nodes into plain values, noting lines and mistakes."""

    def __init__(self, name: str, lines: LineOf | None) -> None:
        self._lines: dict[KeyPath, int] = {}
        self._line_of = lines
        self._values_left = _MAX_VALUES
        self._characters_left = _MAX_CHARACTERS
        self._open: set[int] = set()
        self.origins = Origins(name, self._lines)
        self.problems: list[Problem] = []
        self.unreadable: set[KeyPath] = set()

    def value(self, node: yaml.Node, path: KeyPath, depth: int, into: dict[Any, Any] | None = None) -> Any:
        """The value of a node. A mapping adds the keys that are not there yet to `into`, where that is given."""
        self._note(path, node)
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
        # An alias has a node of its own, which shares its list of items with the node of the anchor.
        if id(node.value) in self._open:
            return self._wrong(path, "holds itself through an alias", "write the value out")
        self._open.add(id(node.value))
        try:
            if isinstance(node, yaml.MappingNode) and node.tag == _CORE + "map":
                return self._mapping(node, path, depth, {} if into is None else into)
            if isinstance(node, yaml.SequenceNode) and node.tag == _CORE + "seq":
                return [self.value(item, (*path, index), depth + 1) for index, item in enumerate(node.value)]
        finally:
            self._open.discard(id(node.value))
        tag = node.tag.replace(_CORE, "!!") if node.tag.startswith(_CORE) else node.tag
        return self._wrong(path, f"the tag `{tag}` is not allowed", "remove it and write plain values")

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        self._characters_left -= len(node.value)
        try:
            value = _SCALARS[node.tag](node.value)
        except (KeyError, ValueError):
            kind = node.tag.removeprefix(_CORE)
            fix = "write fewer digits" if _INT.match(node.value) else "remove the tag"
            return self._wrong(path, f"`{node.value[:40]}` cannot be read as !!{kind}", fix)
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            return self._wrong(path, "holds half of a character (a lone surrogate)", "write the whole character")
        return value

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, depth: int, into: dict[Any, Any]) -> dict[Any, Any]:
        own: dict[Any, yaml.Node] = {}
        merges: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if key_node.tag == _CORE + "merge":
                merges += value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                continue
            is_word = isinstance(key_node, yaml.ScalarNode) and key_node.tag in _SCALARS
            key = self._scalar(key_node, path) if is_word else None
            if isinstance(key, bool) or not isinstance(key, str | int):
                shown = key_node.value if isinstance(key_node, yaml.ScalarNode) else "a list or mapping"
                self._wrong(path, f"`{shown}` cannot be a key", "write a name, in quotes where needed", key_node)
                continue
            if key in own:
                where = f" (first in line {self._line(own[key])})" if self._line_of else ""
                self._wrong((*path, key), f"is written twice{where}", "keep one of the two", key_node)
                continue
            own[key] = key_node
            if key not in into:
                self._note((*path, key), key_node)
                into[key] = self.value(value_node, (*path, key), depth + 1)
        # Merged mappings come last and add only keys that are missing, so no line of theirs replaces another.
        for source in merges:
            if isinstance(source, yaml.MappingNode):
                self.value(source, path, depth + 1, into)
            else:
                self._wrong((*path, "<<"), "does not name a mapping", "write `<<: *anchor` of a mapping", source)
        return into

    def _line(self, node: yaml.Node) -> int:
        return self._line_of(node.start_mark.index) if self._line_of else 0

    def _note(self, path: KeyPath, node: yaml.Node) -> None:
        """Note the line of a value, which is the line of its key where it has one."""
        if self._line_of:
            self._lines.setdefault(path, self._line(node))

    def _wrong(self, path: KeyPath, what: str, fix: str, node: yaml.Node | None = None) -> None:
        """Note a mistake: of the value at `path`, or of the key or merge that `node` is."""
        shown = tuple(part for part in path if isinstance(part, str | int))
        place = self.origins.place(shown)
        if node is None:
            self.unreadable.add(shown)
        elif self._line_of:
            line = self._line(node)
            place = place._replace(text=f"{self.origins.name}:{line}", rank=(0, line))
        self.problems.append(Problem(place, shown, what, fix))


def _int(text: str) -> int:
    if not _INT.match(text):
        raise ValueError(text)
    return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)


def _float(text: str) -> float:
    if not _FLOAT.match(text) and not _INT.match(text):
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


class _Yaml12Dumper(yaml.SafeDumper):
    """Also quotes the text that YAML 1.2 would read as a number, and writes no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        # The other styles fold line breaks that are not a plain "\n", as U+0085, and do not give them back.
        return self.represent_scalar(_CORE + "str", text, style=None if text.isprintable() else '"')


_Yaml12Dumper.add_representer(str, _Yaml12Dumper.represent_text)
_Yaml12Dumper.add_implicit_resolver(_CORE + "float", _FLOAT, list("-+.0123456789"))
_Yaml12Dumper.add_implicit_resolver(_CORE + "int", _INT, list("-+0123456789"))


def plain_yaml(value: Any) -> str:
    """Plain values as YAML, keys in their order, the innermost collections on one line."""
    return yaml.dump(
        value, Dumper=_Yaml12Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None
    )
