"""Rows of the data set that end the process which reads them: the second time, they are left out."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from supervisor.errors import InputError
from supervisor.events.quarantine_file import QuarantinedSample, read_quarantine, write_quarantine
from supervisor.events.schema import ExitClassification
from supervisor.process.exits import WorkerEnd, crashed

__all__ = ["DeadlyRows"]


class DeadlyRows:
    """Convicts a row that was being read when one worker ended, and again the next time that one ended so.

    Args:
        path: `RUN_DIR/deadly_rows.jsonl`, the list of those that are not read any more.
        enabled: whether rows are left out at all, as the policy has it.

    Attributes:
        suspects: those that were being read when the last worker ended; the next one reads them one by one.
    """

    def __init__(self, path: Path, *, enabled: bool) -> None:
        self._path = path
        self._enabled = enabled
        self.suspects: tuple[int | str, ...] = ()

    def judge(self, end: WorkerEnd) -> int | str | None:
        """The row that is left out from now on; None where no row is at fault for certain.

        Args:
            end: of a worker that died.
        """
        # A signal that a process brings upon itself is its own; any other is somebody's, whatever was being read.
        somebodys = end.classification is ExitClassification.KILLED and not crashed(end.returncode)
        if somebodys or not end.rows:
            # That says nothing about a row, for or against it.
            return None
        before, self.suspects = self.suspects, end.rows
        if not self._enabled or len(end.rows) != 1 or end.rows[0] not in before:
            return None
        (row,) = end.rows
        known: Sequence[QuarantinedSample] = ()
        with contextlib.suppress(InputError):
            known = read_quarantine(self._path)
        said = QuarantinedSample(index=row, reason=f"the process that read it ended, and so did another ({end.how})")
        try:
            write_quarantine(self._path, [*known, said])
        except OSError:
            return None
        self.suspects = ()
        return row
