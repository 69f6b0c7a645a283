"""The event log, read on from a place: the log itself is the queue of every sink, so that nothing of it is lost."""

from __future__ import annotations

import contextlib
import hashlib
import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from supervisor.events.event_file import EventFile
from supervisor.events.reader import order_of
from supervisor.events.schema import Event
from supervisor.run_layout import RunLayout
from supervisor.sinks.place import FilePlace

__all__ = ["Tail", "Told"]

_IDENTITY_BYTES = 1 << 12
_BLOCK_BYTES = 1 << 20


class Told(NamedTuple):
    """An event as a sink is told it.

    Attributes:
        event: the event.
        void: whether a resume has taken it back.
        again: whether it lies before the place at which the reading was to begin.
    """

    event: Event
    void: bool
    again: bool


@dataclass
class _Open:
    """A file that is read: what tells it from another one of its name, and how far it was told before."""

    file: EventFile
    identity: str
    told: int


class Tail:
    """Reads the log of a run, whatever is written to it meanwhile.

    Args:
        layout: of the run directory.
        places: how far each file was read before; a file that is another one by now is read from its beginning.
        again: give what lies before these places too.
    """

    def __init__(self, layout: RunLayout, places: Mapping[str, FilePlace], *, again: bool = False) -> None:
        self._layout = layout
        self._places = dict(places)
        self._again = again
        self._files: dict[str, _Open] = {}

    @property
    def places(self) -> dict[str, FilePlace]:
        """How far each file was given, by its name."""
        return dict(self._places)

    def read(self) -> Iterator[Told]:
        """The events from where the last call stopped to the last whole line that there is now, in order.

        `places` stands behind an event as soon as it is given.

        Raises:
            InputError: a line that another one follows is not an event.
            OSError: a file cannot be read.
        """
        self._look()
        merged = heapq.merge(*(self._lines(name) for name in self._files), key=lambda line: order_of(line[0].event))
        for told, name, place in merged:
            if not told.again:
                self._places[name] = place
            yield told

    def left(self) -> int:
        """How many lines there are that were not given."""
        self._look()
        lines = 0
        for name, opened in self._files.items():
            place = self._places.get(name)
            with opened.file.path.open("rb") as file:
                file.seek(0 if place is None else place.offset)
                while block := file.read(_BLOCK_BYTES):
                    lines += block.count(b"\n")
        return lines

    def _look(self) -> None:
        """See which files there are; one in whose place another one stands is begun anew."""
        for path in self._layout.event_files():
            name, identity = path.name, _identity(path)
            opened = self._files.get(name)
            if identity is None:
                continue
            if opened is not None and opened.identity == identity and _has_line_end(path, opened.file.offset):
                continue
            place = self._places.get(name)
            if place is None or place.identity != identity or not _has_line_end(path, place.offset):
                place = FilePlace(identity)
            self._places[name] = place
            at = FilePlace(identity) if self._again else place
            self._files[name] = _Open(EventFile(path, at.offset, at.line, with_void=True), identity, place.offset)
        for name in [name for name, opened in self._files.items() if not opened.file.path.is_file()]:
            del self._files[name]

    def _lines(self, name: str) -> Iterator[tuple[Told, str, FilePlace]]:
        opened = self._files[name]
        # One that is removed meanwhile has nothing more to say.
        with contextlib.suppress(FileNotFoundError):
            for event, void in opened.file.marked():
                place = FilePlace(opened.identity, opened.file.offset, opened.file.line)
                yield Told(event, void, opened.file.offset <= opened.told), name, place


def _has_line_end(path: Path, offset: int) -> bool:
    """Whether a line ends where it was read to: not so in a file that was begun anew with the same line."""
    if offset == 0:
        return True
    try:
        with path.open("rb") as file:
            file.seek(offset - 1)
            return file.read(1) == b"\n"
    except FileNotFoundError:
        return False


def _identity(path: Path) -> str | None:
    """What tells a file from another one of its name: its first line, which holds a time; None before it is whole."""
    try:
        with path.open("rb") as file:
            first = file.readline(_IDENTITY_BYTES)
    except FileNotFoundError:
        return None
    whole = first.endswith(b"\n") or len(first) == _IDENTITY_BYTES
    return hashlib.sha256(first).hexdigest()[:16] if whole else None
