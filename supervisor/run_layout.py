"""Where everything of a run lies in its directory, and how a file there is replaced.

```
RUN_DIR/
  job.yaml  policy.yaml           the job and the policy as resolved
  .lock  restarts.json            one supervisor a directory; the restart budget
  events/rank0.jsonl              the event log of a rank, and supervisor.jsonl of the parent
  checkpoints/                    one folder each
  incidents/0001/                 one folder an incident; process-0001/ for a death of the worker
  heartbeat/rank0                 the progress of a rank, rank0.stacks and rank0.error beside it
  quarantine.jsonl                the samples left out
  observations.jsonl              what every update measured, where that is asked for
  faults.jsonl  score.json        the faults injected by a rehearsal, and its score
```
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

__all__ = ["INCIDENT_FILE", "RunLayout", "replace_file", "replace_file_with", "sync_folder"]

INCIDENT_FILE = "incident.json"
"""The record in the folder of an incident, of the training or of a process."""


@dataclass(frozen=True, slots=True)
class RunLayout:
    """The paths of one run directory. Only those that list what is there touch the disk.

    Attributes:
        root: the run directory.
        rank: whose event log, heartbeat, stacks and error are meant; everything else belongs to all ranks.
    """

    root: Path
    rank: int = 0

    @property
    def job(self) -> Path:
        """The job, as resolved when the run was started or resumed last."""
        return self.root / "job.yaml"

    @property
    def policy(self) -> Path:
        """The policy, likewise."""
        return self.root / "policy.yaml"

    @property
    def lock(self) -> Path:
        """Held by the one supervisor that runs the directory."""
        return self.root / ".lock"

    @property
    def restarts(self) -> Path:
        """When workers failed, for the restart budget."""
        return self.root / "restarts.json"

    @property
    def quarantine(self) -> Path:
        """The samples of the data set that are left out, one a line."""
        return self.root / "quarantine.jsonl"

    @property
    def observations(self) -> Path:
        """What every update measured, one a line."""
        return self.root / "observations.jsonl"

    @property
    def faults(self) -> Path:
        """The faults that were injected, one a line."""
        return self.root / "faults.jsonl"

    @property
    def score(self) -> Path:
        """How a rehearsal was recovered from."""
        return self.root / "score.json"

    @property
    def events(self) -> Path:
        """The folder of the event logs."""
        return self.root / "events"

    @property
    def rank_events(self) -> Path:
        """The event log of this rank."""
        return self.events / f"rank{self.rank}.jsonl"

    @property
    def parent_events(self) -> Path:
        """The event log of the parent."""
        return self.events / "supervisor.jsonl"

    def event_files(self) -> list[Path]:
        """The event logs that are there, the parent's first: it acts before the worker that it starts."""
        return sorted(self.events.glob("*.jsonl"), key=lambda path: (path != self.parent_events, path.name))

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.root / "checkpoints"

    @property
    def incidents(self) -> Path:
        """The folder of the incidents, of the training and of the processes."""
        return self.root / "incidents"

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

    @property
    def heartbeats(self) -> Path:
        """The folder of what the workers tell the parent."""
        return self.root / "heartbeat"

    @property
    def heartbeat(self) -> Path:
        """The memory that the progress of this rank is written to."""
        return self.heartbeats / f"rank{self.rank}"

    @property
    def stacks(self) -> Path:
        """Where the worker of this rank writes its threads' stacks when it is asked to."""
        return self.heartbeats / f"rank{self.rank}.stacks"

    @property
    def last_error(self) -> Path:
        """Where the worker of this rank leaves the traceback of what it died of."""
        return self.heartbeats / f"rank{self.rank}.error"


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
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}")
    try:
        with part.open("wb") as file:
            write(file)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder: a file that was flushed can still lose its name in a power cut.

    Raises:
        OSError: the disk did not confirm it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _numbers(names: Iterable[str]) -> list[int]:
    # Shorter numbers are of no folder that a run has made.
    return sorted(int(name) for name in names if len(name) >= 4 and name.isdecimal())
