"""Which process runs a run directory, written into its lock file, and whether that process is still there."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from pydantic import PositiveInt, ValidationError

from supervisor.events.base import RecordModel

__all__ = ["Owner", "claim", "monotonic_since", "read_owner"]

_START_TIME = 19
"""Which field of /proc/PID/stat, counted after the name, says when the process began; the first one is its state."""


class Owner(RecordModel):
    """A process, so that a later one of the same number is not taken for it.

    Attributes:
        pid: its number.
        host: the machine it runs on.
        namespace: what the number counts in; None where the system does not say.
        boot: which start of the machine it belongs to, likewise.
        began: when it began, in ticks since that start, likewise.
    """

    pid: PositiveInt
    host: str
    namespace: str | None = None
    boot: str | None = None
    began: int | None = None

    @classmethod
    def this_process(cls) -> Owner:
        """The process that asks."""
        pid = os.getpid()
        began = _stat(pid)[1]
        return cls(pid=pid, host=socket.gethostname(), namespace=_namespace(), boot=_boot(), began=began)

    @property
    def alive(self) -> bool | None:
        """Whether it is still there; None where that cannot be known from here, as of another machine's."""
        if self.host != socket.gethostname():
            return None
        if self.namespace != _namespace() or self.boot != _boot():
            # Another container, or another machine of the same name. After a restart of the machine this is not known
            # either: the run may be on the other machine.
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            # It is there, and another user's.
            pass
        state, began = _stat(self.pid)
        return state != "Z" and (None in (self.began, began) or self.began == began)


def claim(path: Path, *, unless_parents: bool = False) -> None:
    """Write this process into a lock file as the one that runs the directory.

    Where the disk refuses, nobody is on record.

    Args:
        path: the lock file. It is written in place, for a lock is on the file and not on its name.
        unless_parents: leave it where it names the process that started this one: that one starts the next worker.
    """
    owner = read_owner(path) if unless_parents else None
    if owner is not None and owner.pid == os.getppid() and owner.alive:
        return
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.write_text(Owner.this_process().model_dump_json() + "\n", encoding="utf-8")
        except OSError:
            os.truncate(path, 0)


def read_owner(path: Path) -> Owner | None:
    """Who runs the directory of this lock file, as far as it tells."""
    try:
        return Owner.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def monotonic_since() -> str:
    """What the monotonic clock of this process counts from: two that give the same can be compared."""
    # Where the system does not name its start, only times of one process can be.
    return _boot() or f"{socket.gethostname()} {os.getpid()}"


def _namespace() -> str | None:
    with contextlib.suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return None


def _boot() -> str | None:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return None


def _stat(pid: int) -> tuple[str | None, int | None]:
    """The state of a process and when it began; None each where the system does not say."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        # The name before it may hold blanks and brackets.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0], int(fields[_START_TIME])
    return None, None
