"""Where everything of a run lies in its directory, and how a file there is replaced."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

__all__ = [
    "INCIDENT_FILE",
    "PARENT_LOG",
    "RunLayout",
    "replace_file",
    "replace_file_with",
    "sync_file",
    "sync_folder",
]

_NO_SUCH_OPERATION = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})

INCIDENT_FILE = "incident.json"
"""The record in the folder of an incident, of the training or of a process."""

PARENT_LOG = "supervisor.jsonl"
"""The parent's event log, beside those of the ranks."""


class _Entry:
    """A path in the run directory, as an attribute of the layout; `{rank}` in it is the layout's rank."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, layout: RunLayout, owner: type[RunLayout]) -> Path:
        return layout.root / self._name.format(rank=layout.rank)


@dataclass(frozen=True, slots=True)
class RunLayout:
    """The paths of one run directory. Only those that list what is there touch the disk.

    Attributes:
        root: the run directory.
        rank: whose event log, heartbeat, stacks and error are meant; everything else belongs to all ranks.
    """

    root: Path
    rank: int = 0

    job = _Entry("job.yaml")  # as resolved when the run was started or resumed last
    policy = _Entry("policy.yaml")  # likewise
    place = _Entry("place.json")  # the working directory that it was started or resumed in last
    lock = _Entry(".lock")  # held by the one supervisor that runs the directory; says who that is
    restarts = _Entry("restarts.json")  # when workers failed, for the restart budget
    quarantine = _Entry("quarantine.jsonl")  # the samples of the data set that are left out
    deadly_rows = _Entry("deadly_rows.jsonl")  # those of which the reading has ended two workers: not read any more
    next_batches = _Entry("next_batches.json")  # what followed each checkpoint, to tell whether it comes again
    observations = _Entry("observations.jsonl")  # what every update measured, where that is asked for
    sinks = _Entry("sinks")  # the folder of the sinks: how far each was told, and what they write where nothing is said
    webhook_url = _Entry("sinks/webhook.url")  # the address that the job holds, for a resume; its owner alone reads it
    sinks_output = _Entry("sinks/output.txt")  # what the packages that the sinks use had to say
    faults = _Entry("faults.jsonl")  # the faults that a rehearsal injected
    score = _Entry("score.json")  # how the rehearsal was recovered from
    report = _Entry("report.html")  # the page that `supervisor report` draws where it is not told where to
    events = _Entry("events")  # the folder of the event logs
    rank_events = _Entry("events/rank{rank}.jsonl")  # the log of this rank
    writer = _Entry("events/rank{rank}.lock")  # held by the one guard that writes it; says whose it is
    parent_events = _Entry(f"events/{PARENT_LOG}")  # the log of the parent
    checkpoints = _Entry("checkpoints")  # one folder each
    incidents = _Entry("incidents")  # one folder each, of the training and of the processes
    heartbeats = _Entry("heartbeat")  # the folder of what the workers tell the parent
    heartbeat = _Entry("heartbeat/rank{rank}")  # the memory that the progress of this rank is written to
    stacks = _Entry("heartbeat/rank{rank}.stacks")  # its worker's threads, when it was asked for them
    reading = _Entry("heartbeat/rank{rank}.reading")  # the rows that it and its loader's processes are reading
    last_error = _Entry("heartbeat/rank{rank}.error")  # the traceback of what its worker died of

    @property
    def of_job(self) -> bool:
        """Whether `supervisor run` writes here, so that its commands go on with it, and not the Guard of a program."""
        return self.job.is_file()

    def entries(self) -> set[Path]:
        """Everything that a run may have in its directory itself, halves of files that are being replaced included."""
        named = (name for name, entry in vars(type(self)).items() if isinstance(entry, _Entry))
        own = {path for name in named if (path := getattr(self, name)).parent == self.root}
        return own | {path.with_name(f".{path.name}") for path in own}

    def event_files(self) -> list[Path]:
        """The event logs that are there, the parent's first: it acts before the worker that it starts.

        A pipe of such a name is left out: who opens one waits for ever.
        """
        found = [path for path in self.events.glob("*.jsonl") if not path.is_fifo()]
        return sorted(found, key=lambda path: (path != self.parent_events, path.name))

    def sink_place(self, sink: str) -> Path:
        """How far a sink was told, and what it keeps for a resume."""
        return self.sinks / f"{sink}.json"

    def incident(self, number: int) -> Path:
        """The folder of an incident of the training, numbered from 1."""
        return self.incidents / f"{number:04d}"

    def process_incident(self, number: int) -> Path:
        """The folder of a death or a stall of a worker, numbered from 1."""
        return self.incidents / f"process-{number:04d}"

    def incident_numbers(self) -> list[int]:
        """The incidents of the training that have a folder, in order."""
        return _numbers(path.name for path in self.incidents.glob("*"))

    def process_incident_numbers(self) -> list[int]:
        """The deaths and stalls of workers that have a folder, in order."""
        return _numbers(path.name.removeprefix("process-") for path in self.incidents.glob("process-*"))


def replace_file(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Write a file, whole or not at all: whoever reads it meets the old content or the new one.

    Args:
        path: the file; its folder is made where it is missing.
        content: all of it; text is written as UTF-8.
        durable: return only when the new content survives a power cut.

    Raises:
        OSError: it could not be written, and the file is as it was; or, with `durable`, the disk did not confirm the
            new name.
    """
    data = content.encode() if isinstance(content, str) else content
    replace_file_with(path, lambda file: file.write(data), durable=durable)


def replace_file_with(path: Path, write: Callable[[BinaryIO], object], *, durable: bool = False) -> None:
    """As `replace_file`, with a content that `write` puts into the open file it is given.

    Raises:
        OSError: as `replace_file`.
        Exception: whatever `write` raises; the file is as it was.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        # A new file in its place would take a device from the whole machine: /dev/null, where root says so.
        raise OSError(errno.EINVAL, "a device or a pipe, no file")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}")
    try:
        with part.open("wb") as file:
            write(file)
            if durable:
                file.flush()
                sync_file(file.fileno())
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> bool:
    """Wait until the disk has the names in a folder: a file that was flushed can still lose its name in a power cut.

    Returns:
        Whether it has; False where the file system cannot say so (`sync_file`).

    Raises:
        OSError: the disk did not confirm it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        return sync_file(descriptor)
    finally:
        os.close(descriptor)


def sync_file(descriptor: int) -> bool:
    """Wait until the disk has what was written to an open file or folder.

    Returns:
        Whether it has. Some network and user-space file systems have no such operation: what they hold is as good as
        it gets, and False is returned.

    Raises:
        OSError: the disk did not confirm it.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SUCH_OPERATION:
            raise
        return False
    return True


def _numbers(names: Iterable[str]) -> list[int]:
    # Shorter numbers are of no folder that a run has made.
    return sorted(int(name) for name in names if len(name) >= 4 and name.isdecimal())
