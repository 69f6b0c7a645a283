"""One file of an event log, read from where the last reading stopped, with what a resume made void."""

from __future__ import annotations

import contextlib
import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from pydantic import ValidationError

from supervisor.errors import InputError
from supervisor.events.schema import Event, parse_event

__all__ = ["EventFile", "Resumes", "damaged", "head_of"]

_NEWLINE = 0x0A
_BLOCK_BYTES = 1 << 20
_HEAD_BYTES = 256


@dataclass
class EventFile:
    """A file, and how far it has been read.

    Attributes:
        path: the file.
        offset: where the next line to read starts, in bytes.
        line: how many lines have been read.
        with_void: whether lines that a resume made void are given too.
        named: give only events of this name.
    """

    path: Path
    offset: int = 0
    line: int = 0
    with_void: bool = False
    named: str | None = None

    def events(self) -> Iterator[Event]:
        """The events from where the last call stopped to the last whole line that there is now.

        Raises:
            InputError: a line that another one follows is not an event.
        """
        return (event for event, _ in self.marked())

    def marked(self) -> Iterator[tuple[Event, bool]]:
        """The same, each with whether it is void.

        Raises:
            InputError: as `events`.
        """
        if self.path.stat().st_size == self.offset:
            return
        end, resumes = self._scan()
        offset, line, named = self.offset, self.line, self.named and self.named.encode()
        with self.path.open("rb") as file:
            file.seek(offset)
            for text in file:
                start, offset, line = offset, offset + len(text), line + 1
                if offset > end or text[-1] != _NEWLINE:
                    # What follows came since, or a writer cut the file meanwhile.
                    break
                if named and named not in text:
                    continue
                try:
                    event = parse_event(text)
                except ValueError as error:
                    self.offset, self.line = start, line - 1
                    if offset >= end:
                        # Torn by a power cut, newline and all. Read again when there is more.
                        return
                    raise damaged(self.path, line, error) from error
                self.offset, self.line = offset, line
                void = resumes.void(line, event)
                if (self.with_void or not void) and self.named in (None, event.event):
                    yield event, void
            else:
                start, line = offset, line + 1
        self.offset, self.line = start, line - 1

    def _scan(self) -> tuple[int, Resumes]:
        """Where the last whole line ends, and the resumes before it."""
        # Not mapped into memory: a writer may cut the file's torn tail meanwhile, which would end this process.
        resumes, end, line, rest = Resumes(), self.offset, self.line, b""
        with self.path.open("rb") as file:
            file.seek(end)
            while block := file.read(_BLOCK_BYTES):
                block = rest + block
                cut = block.rfind(b"\n") + 1
                whole, rest = block[:cut], block[cut:]
                if b'"run_resumed"' in whole:
                    for number, text in enumerate(whole.split(b"\n"), line + 1):
                        if b'"run_resumed"' in text:
                            resumes.note(text, number)
                end, line = end + cut, line + whole.count(b"\n")
        return end, resumes


def damaged(path: Path, line: int, error: ValueError) -> InputError:
    """What to say of a line that is no event; `line` counts from 1."""
    schema = _other_schema(error)
    if schema is not None:
        what = f"an event of schema {schema}, and this version reads schema 1"
        return InputError(f"{path}:{line}: {what}: read it with the version of the supervisor that wrote it")
    return InputError(f"{path}:{line}: not an event: {_why(error)}: restore or delete it")


def head_of(path: Path) -> bytes:
    """The beginning of a file, by which it is known again: it holds the time at which it was begun."""
    with contextlib.suppress(OSError), path.open("rb", buffering=0) as file:
        first, newline, _ = file.read(_HEAD_BYTES).partition(b"\n")
        # What follows may be torn, and cut off by the next writer.
        return first + newline
    return b""


class Resumes:
    """The resumes of one file: tells which lines they made void, in the logarithm of their number.

    Where a line stands is told by any number that grows from line to line.
    """

    def __init__(self) -> None:
        self._by_rank: dict[int | None, list[tuple[int, int]]] = {}

    def note(self, text: bytes, line: int) -> None:
        """Take in the resume on `line`."""
        try:
            event = json.loads(text)
            if event["event"] != "run_resumed" or event["update"] is None:
                return
            rank, update = event["rank"], int(event["update"])
        except (ValueError, TypeError, KeyError):
            # Not an event: the reading that follows says so, and where.
            return
        resumes = self._by_rank.setdefault(rank, [])
        # Earlier ones that did not go further back void nothing that this one does not.
        while resumes and resumes[-1][1] >= update:
            resumes.pop()
        resumes.append((line, update))

    def void(self, line: int, event: Event) -> bool:
        """Whether `event`, which stands on `line`, was lost in a later resume."""
        resumes = self._by_rank.get(event.rank, [])
        later = bisect_right(resumes, line, key=itemgetter(0))
        return event.update is not None and later < len(resumes) and resumes[later][1] <= event.update


def _other_schema(error: ValueError) -> int | None:
    """That of a line which another version wrote; None where that is not what is wrong."""
    if not isinstance(error, ValidationError):
        return None
    found = [each["input"] for each in error.errors(include_url=False) if each["loc"][-1:] == ("schema",)]
    return found[0] if found and type(found[0]) is int else None


def _why(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return f"{where}: {first['msg']}" if where else first["msg"]
