"""The log of a run that is being written, read on from where the last look stopped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from supervisor.events.event_file import head_of
from supervisor.events.reader import merged
from supervisor.events.schema import Event, RunResumedEvent
from supervisor.events.sparse_file import SparseFile
from supervisor.live.fold import LiveFold
from supervisor.live.loss_curve import sampled_losses
from supervisor.run_layout import RunLayout

__all__ = ["FoldedLog", "LiveLog"]


class LiveLog:
    """All event files of a run, merged. A file that was begun anew is read from its start.

    Args:
        layout: of the run directory.

    Attributes:
        begun_anew: whether a file was replaced or removed since the look before the last.
    """

    def __init__(self, layout: RunLayout) -> None:
        self.begun_anew = False
        self._layout = layout
        self._files: dict[Path, SparseFile] = {}
        self._heads: dict[Path, bytes] = {}

    @property
    def files(self) -> int:
        """How many files there were at the last look."""
        return len(self._files)

    def read_on(self) -> Iterator[tuple[Event, bool]]:
        """What was written since the last look, in order, each with whether a resume made it void.

        Of `step` events in a row the last alone.

        Raises:
            InputError: a file cannot be read, or a line before its last is no event.
        """
        self.begun_anew = False
        there = self._layout.event_files()
        for path in {*self._files} - {*there}:
            self._forget(path)
        for path in there:
            self._notice_another(path)
            self._files.setdefault(path, SparseFile(path))
        return merged(self._files.values())

    def _notice_another(self, path: Path) -> None:
        """A worker that begins anew writes another file of the same name."""
        head = head_of(path)
        known = self._heads.get(path, b"")
        if path in self._files and not head.startswith(known):
            self._forget(path)
        self._heads[path] = head

    def _forget(self, path: Path) -> None:
        self.begun_anew = True
        del self._files[path]
        self._heads.pop(path, None)


class FoldedLog:
    """A log and its fold, which is told everything anew where a resume has made a part of it void.

    Args:
        layout: of the run directory.

    Attributes:
        fold: what the log tells so far.
    """

    def __init__(self, layout: RunLayout) -> None:
        self.fold = LiveFold()
        self._layout = layout
        self._log = LiveLog(layout)
        self._read_before = False

    @property
    def files(self) -> int:
        """How many files the log has."""
        return self._log.files

    def read_on(self) -> None:
        """Take in what was written since the last time.

        Raises:
            InputError: as `LiveLog.read_on`.
        """
        events, anew = list(self._log.read_on()), not self._read_before
        if not anew and (self._log.begun_anew or any(_goes_back(event) for event, _ in events)):
            self.fold, self._log = LiveFold(), LiveLog(self._layout)
            events, anew = list(self._log.read_on()), True
        self._read_before = True
        for event, void in events:
            self.fold.tell(event, void=void)
        if anew:
            self.fold.sample(sampled_losses(self._layout.rank_events))


def _goes_back(event: Event) -> bool:
    return isinstance(event, RunResumedEvent)
