"""Faults of the disk: damaged checkpoints, and writes that are refused."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Any

import torch

from supervisor.checkpoints import CheckpointStore
from supervisor.errors import CheckpointError
from supervisor.faults.model import CorruptCheckpoint, Damage, DiskFull
from supervisor.faults.strike import Strike
from supervisor.run_layout import RunLayout
from supervisor.saved import CheckpointInfo
from supervisor.saved.verification import STATE_FILE
from supervisor.training.tree import tensors_in

__all__ = ["DiskFaults"]

LEAST_FILE_BYTES = 1 << 12
LONGEST_WRITE_SECONDS = 10.0


class DiskFaults:
    """Strikes at the files of a run directory."""

    def __init__(self, run_dir: Path) -> None:
        self._checkpoints = RunLayout(run_dir).checkpoints
        self._full_until: int | None = None
        self._limit_before = 0

    def prepare(self, fault: CorruptCheckpoint | DiskFull, number: int) -> Strike | None:
        """The strike at batch `number`; None while there is no checkpoint to damage."""
        newest = self._newest()
        if isinstance(fault, DiskFull):
            limit = fault.file_bytes
            if limit is None:
                size = 0 if newest is None else (newest.path / STATE_FILE).stat().st_size
                limit = max(LEAST_FILE_BYTES, size // 2)
            return Strike(f"files beyond {limit} bytes", lambda: self._fill(limit, number + fault.batches))
        if newest is None:
            return None
        return Strike(f"{self._checkpoints.name}/{newest.path.name}", lambda: self._damage(newest, fault.mode))

    def release(self, number: int) -> None:
        """Let writes through again once batch `number` is beyond those they fail at."""
        if self._full_until is not None and number >= self._full_until:
            self._full_until = None
            resource.setrlimit(resource.RLIMIT_FSIZE, (self._limit_before, _hard_limit()))

    def _fill(self, limit: int, until: int) -> None:
        if self._full_until is None:
            self._limit_before = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        self._full_until = until
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, _hard_limit()))

    def _newest(self) -> CheckpointInfo | None:
        """The newest checkpoint; one that is being written is waited for, since it will be the newest."""
        deadline = time.monotonic() + LONGEST_WRITE_SECONDS
        while any(self._checkpoints.glob(".unfinished-step-*")) and time.monotonic() < deadline:
            time.sleep(0.005)
        found = CheckpointStore(self._checkpoints, "").committed()
        return next((info for info in found if (info.path / STATE_FILE).is_file()), None)

    def _damage(self, info: CheckpointInfo, mode: Damage) -> None:
        file = info.path / STATE_FILE
        match mode:
            case Damage.TRUNCATE:
                os.truncate(file, file.stat().st_size // 2)
            case Damage.FLIP:
                with file.open("r+b") as handle:
                    handle.seek(file.stat().st_size // 2)
                    byte = handle.read(1)[0]
                    handle.seek(-1, os.SEEK_CUR)
                    handle.write(bytes([byte ^ 1]))
            case Damage.NAN:
                self._rewrite_with_nan(info)

    def _rewrite_with_nan(self, info: CheckpointInfo) -> None:
        """Write the checkpoint again with a NaN in its first parameter, so that manifest and hash agree with it."""
        store = CheckpointStore(self._checkpoints, "")
        try:
            tree: Any = store.load(info.path)
            for tensor in tensors_in(tree["moment"]["training"]["parameters"])[:1]:
                tensor.view(-1)[0] = torch.nan
            store.write(info.step, info.update or 0, tree, good=info.good)
        except CheckpointError:
            # Damaged already: another fault was here before.
            return


def _hard_limit() -> int:
    return resource.getrlimit(resource.RLIMIT_FSIZE)[1]
