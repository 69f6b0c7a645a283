"""One file of an event log, of whose rows of `step` events only the last line is looked into.

A long log is little else. The file is read once, in large blocks, to note where the other lines stand and where each
row ends; then these lines alone are read again and understood.
"""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterator
from pathlib import Path

from supervisor.events.event_file import Resumes, damaged
from supervisor.events.schema import Event, parse_event

__all__ = ["SparseFile"]

_BLOCK_BYTES = 1 << 16
_LINE_BYTES = 1 << 10

# As this package writes it, and as others do. In a text the quotation marks would be escaped.
_STEP, _STEP_OF_OTHERS = b'"event":"step"', b'"event": "step"'
# Before each line that does not begin as a `step` event of this package does: few are left to be looked at singly.
_NO_STEP_AS_WRITTEN = re.compile(rb'\n(?!\{"schema":\d,"time":"[^"]+","event":"step")')


class SparseFile:
    """A file, and how far it has been read.

    Args:
        path: the file.

    Attributes:
        offset: where the next line to read starts, in bytes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0

    def marked(self) -> Iterator[tuple[Event, bool]]:
        """The events from where the last call stopped, each with whether a resume made it void.

        Of `step` events in a row the last is given, and before it, where it is void, the last that counts. A row ends
        where the file does. A last line that is torn is left out, and read again by the next call.

        Raises:
            InputError: a line that another one follows is not an event.
        """
        if self.path.stat().st_size == self.offset:
            return
        # Not mapped into memory: a writer may cut the file's torn tail meanwhile, which would end this process.
        with self.path.open("rb", buffering=0) as file:
            lines = _Lines(self.path, file.fileno())
            lines.scan(self.offset)
            for row, start, stop in lines:
                event = lines.read(start, stop)
                if event is None:
                    # Torn by a power cut, newline and all.
                    stop = start
                    start = lines.start_of(start - 1, row) if row < start else row
                    if row == stop or (event := lines.read(start, stop)) is None:
                        return
                void = lines.void(start, event)
                self.offset = stop
                if void and (before := lines.last_that_counts(row, start)) is not None:
                    yield before, False
                yield event, void


class _Lines:
    """The lines of a file that are looked into, by their places in it.

    Args:
        path: its name, for messages.
        descriptor: it, open.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._resumes = Resumes()
        self._end = 0
        # Three numbers a line: where its row begins, where it begins, and where it ends.
        self._places = array("Q")

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """Of each line where its row begins, which is the line itself but for `step` events; its start and its end."""
        places = iter(self._places)
        return zip(places, places, places, strict=True)

    def scan(self, offset: int) -> None:
        """Note the lines from `offset` on, up to the last whole one."""
        row: tuple[int, int, int] | None = None
        # Each line is found by the newline before it.
        self._end, rest = offset, b"\n"
        while block := os.pread(self._descriptor, _BLOCK_BYTES, self._end + len(rest) - 1):
            text, base, begun = rest + block, self._end, 0
            cut = text.rfind(b"\n")
            for newline in [found.start() for found in _NO_STEP_AS_WRITTEN.finditer(text, 0, cut)]:
                stop = text.index(b"\n", newline + 1)
                line = text[newline + 1 : stop]
                if _STEP in line or _STEP_OF_OTHERS in line:
                    continue
                if newline > begun:
                    row = row[0] if row else base + begun, base + text.rindex(b"\n", 0, newline), base + newline
                if row:
                    self._places.extend(row)
                    row = None
                self._places.extend((base + newline, base + newline, base + stop))
                if b'"run_resumed"' in line:
                    self._resumes.note(line, base + newline)
                begun = stop
            if cut > begun:
                row = row[0] if row else base + begun, base + text.rindex(b"\n", 0, cut), base + cut
            self._end, rest = base + cut, text[cut:]
        if row:
            self._places.extend(row)

    def read(self, start: int, stop: int) -> Event | None:
        """The event between two places; None where it is the last line and torn.

        Raises:
            InputError: another line is no event.
        """
        text = os.pread(self._descriptor, stop - start, start)
        try:
            return parse_event(text)
        except ValueError as error:
            if stop >= self._end:
                return None
            raise damaged(self._path, self._number(start), error) from error

    def void(self, start: int, event: Event) -> bool:
        """Whether the event of the line at `start` was lost in a later resume."""
        return self._resumes.void(start, event)

    def last_that_counts(self, row: int, start: int) -> Event | None:
        """Of the lines of a row before the one at `start`, which is void, the last that is not; None without one.

        Within a life updates only grow, so that the void ones are the end of the row.
        """
        low, high, found = row, start, None
        while low < high:
            line = self.start_of((low + high) // 2, low)
            stop = self._after(line, high)
            event = self.read(line, stop)
            if event is None or self.void(line, event):
                high = line
            else:
                low, found = stop, event
        return found

    def start_of(self, place: int, lowest: int) -> int:
        """Where the line begins that `place` is in; at `lowest` where no line begins between."""
        until = place
        while until > lowest:
            begun = max(lowest, until - _LINE_BYTES)
            newline = os.pread(self._descriptor, until - begun, begun).rfind(b"\n")
            if newline >= 0:
                return begun + newline + 1
            until = begun
        return lowest

    def _after(self, place: int, highest: int) -> int:
        """Where the line ends that `place` is in, its newline included."""
        while place < highest and (text := os.pread(self._descriptor, _LINE_BYTES, place)):
            newline = text.find(b"\n")
            if newline >= 0:
                return min(highest, place + newline + 1)
            place += len(text)
        return highest

    def _number(self, start: int) -> int:
        """The number of the line at `start`, from 1."""
        number, place = 1, 0
        while place < start and (text := os.pread(self._descriptor, min(_BLOCK_BYTES, start - place), place)):
            number, place = number + text.count(b"\n"), place + len(text)
        return number
