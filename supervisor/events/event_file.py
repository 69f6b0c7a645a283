"""One event file as a reader sees it: whole lines only, and none that a resume made void."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from supervisor.errors import InputError
from supervisor.events.schema import Event, parse_event

__all__ = ["EventFile"]


@dataclass
class EventFile:
    """A file, and how far it has been read.

    Attributes:
        path: the file.
        offset: where the next line to read starts, in bytes.
        line: how many lines have been read.
        with_void: whether lines that a resume made void are given too.
    """

    path: Path
    offset: int = 0
    line: int = 0
    with_void: bool = False

    def events(self) -> Iterator[Event]:
        """The events from where the last call stopped to the last whole line that there is now.

        Raises:
            InputError: a line that another one follows is not an event.
        """
        end, resumes = self._scan()
        with self.path.open("rb") as file:
            file.seek(self.offset)
            while self.offset < end:
                text = file.readline()
                if not text.endswith(b"\n"):
                    # A writer cut the file meanwhile.
                    return
                try:
                    event = parse_event(text)
                except ValueError as error:
                    if self.offset + len(text) >= end:
                        # Torn by a power cut, newline and all. Read again when there is more.
                        return
                    where = f"{self.path}:{self.line + 1}"
                    raise InputError(f"{where}: not an event: {_why(error)}: restore or delete it") from error
                self.offset += len(text)
                self.line += 1
                if self.with_void or not resumes.void(self.line, event):
                    yield event

    def _scan(self) -> tuple[int, _Resumes]:
        """Where the last whole line ends, and the resumes before it."""
        resumes: dict[int | None, _Positions] = {}
        end, line = self.offset, self.line
        with self.path.open("rb") as file:
            file.seek(self.offset)
            for text in file:
                if not text.endswith(b"\n"):
                    break
                end += len(text)
                line += 1
                if b'"run_resumed"' in text:
                    _note(text, line, resumes)
        return end, _Resumes(resumes)


@dataclass
class _Positions:
    """The resumes of one rank, in the order of the file."""

    lines: list[int] = field(default_factory=list)
    updates: list[int] = field(default_factory=list)


class _Resumes:
    """Tells which lines a later resume made void, in the logarithm of the number of resumes."""

    def __init__(self, by_rank: dict[int | None, _Positions]) -> None:
        self._by_rank = by_rank
        for positions in by_rank.values():
            # What counts for a line is the furthest back that any resume after it went.
            for index in range(len(positions.updates) - 2, -1, -1):
                positions.updates[index] = min(positions.updates[index : index + 2])

    def void(self, line: int, event: Event) -> bool:
        """Whether `event`, which stands on `line` (from 1), was lost in a later resume."""
        positions = self._by_rank.get(event.rank)
        if positions is None or event.update is None:
            return False
        later = bisect_right(positions.lines, line)
        return later < len(positions.lines) and positions.updates[later] <= event.update


def _note(text: bytes, line: int, by_rank: dict[int | None, _Positions]) -> None:
    try:
        event = json.loads(text)
        if event["event"] != "run_resumed" or event["update"] is None:
            return
        rank, update = event["rank"], int(event["update"])
    except (ValueError, TypeError, KeyError):
        # Not an event: the reading that follows says so, and where.
        return
    positions = by_rank.setdefault(rank, _Positions())
    positions.lines.append(line)
    positions.updates.append(update)


def _why(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return f"{where}: {first['msg']}" if where else first["msg"]
