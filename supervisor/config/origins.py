"""Where each value came from: the line of a file, or a flag. Every problem names its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

from supervisor.display import visible
from supervisor.errors import InputError

__all__ = ["KeyPath", "Origins", "Place", "Problem", "dotted", "one_line", "refuse"]

_MAX_SHOWN = 100

KeyPath: TypeAlias = tuple[Any, ...]
"""The keys (text or whole numbers) and list indices (from 0) that lead to a value."""


def dotted(path: KeyPath) -> str:
    """A path as it is written in messages and behind `--set`: `ladder.0.attempts`."""
    return ".".join(str(part) for part in path)


def one_line(text: str) -> str:
    """Text that keeps to its line and to its terminal: line breaks and control characters are escaped."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


class Place(NamedTuple):
    """Where a value was written.

    Attributes:
        text: what a message starts with: `policy.yaml:3`, or the flag.
        rank: flags come after lines, lines in their order.
        depth: how many parts of the path are the value's own; fewer than the path has: an ancestor's place.
    """

    text: str
    rank: tuple[int, int]
    depth: int


@dataclass(frozen=True)
class Problem:
    """A mistake of the user's.

    Attributes:
        place: where it was written.
        path: the key at fault; empty for the whole file.
        what: what is wrong.
        fix: what to write instead; empty where `what` says it all.
        section: for a missing key, or keys that contradict each other, the section in which another key can
            still put it right; None for a value that is wrong in itself.
    """

    place: Place
    path: KeyPath
    what: str
    fix: str = ""
    section: KeyPath | None = None

    def __str__(self) -> str:
        parts = (self.place.text, dotted(self.path), self.what, self.fix)
        return one_line(": ".join(part for part in parts if part))


@dataclass(frozen=True)
class Origins:
    """The places of all values of one file.

    Attributes:
        name: the file as the user typed it, or what else to call the source.
        lines: for each path its line in that file, from 1; none for a source without lines.
        flags: for each path that a flag has set, the flag.
    """

    name: str
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    flags: Mapping[KeyPath, str] = field(default_factory=dict)

    def place(self, path: KeyPath) -> Place:
        """The place of a value, or of the nearest part around it that was written."""
        for depth in range(len(path), -1, -1):
            head = path[:depth]
            if head in self.flags:
                return Place(self.flags[head], (1, list(self.flags).index(head)), depth)
            if head in self.lines:
                return Place(f"{self.name}:{self.lines[head]}", (0, self.lines[head]), depth)
        return Place(self.name, (0, 0), 0)

    def problem(
        self, path: KeyPath, what: str, fix: str = "", *, prefix: KeyPath = (), section: KeyPath | None = None
    ) -> Problem:
        """A problem at a path; `prefix` is added to its paths, for a policy inside a job."""
        place = self.place(path)
        named_by_flag = place.rank[0] == 1 and place.depth == len(path)
        within = None if section is None else (*prefix, *section)
        return Problem(place, () if named_by_flag else (*prefix, *path), what, fix, within)

    def with_flag(self, path: KeyPath, flag: str) -> Origins:
        """The same, after a flag has replaced the value at `path`."""
        kept = {each: line for each, line in self.lines.items() if each[: len(path)] != path}
        flags = {each: name for each, name in self.flags.items() if each[: len(path)] != path}
        return replace(self, lines=kept, flags={**flags, path: flag})

    def below(self, prefix: KeyPath) -> Origins:
        """The origins of the part at `prefix`, addressed from there; where it is not written, of what is around it."""
        size = len(prefix)

        def inside(places: Mapping[KeyPath, Any]) -> dict[KeyPath, Any]:
            around = [prefix[:depth] for depth in range(size, -1, -1)]
            nearest = next((head for head in around if head in self.flags or head in self.lines), prefix)
            root = {(): places[nearest]} if nearest in places else {}
            return root | {path[size:]: place for path, place in places.items() if path[:size] == prefix}

        return Origins(self.name, inside(self.lines), inside(self.flags))


def refuse(problems: Iterable[Problem]) -> None:
    """Raise all problems at once, in the order of their lines.

    Raises:
        InputError: where there is a problem.
    """
    ordered = sorted(problems, key=lambda problem: problem.place.rank)
    if ordered:
        lines = list(dict.fromkeys(str(problem) for problem in ordered))
        more = len(lines) - _MAX_SHOWN
        raise InputError(*lines[:_MAX_SHOWN], *([f"and {more} more problems"] if more > 0 else []))
