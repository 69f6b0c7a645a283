"""A file of lines: a last line that a crash or a full disk left half-written is removed before the next one."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from supervisor.run_layout import sync_folder

__all__ = ["LineFile", "whole_lines_end"]

_BLOCK_BYTES = 1 << 16


class LineFile:
    """Appends lines to a file; a torn tail is cut off when it is opened, and after a write that failed.

    The file is opened by the first `append`, and again by the next one where that fails, or where it was removed.

    Args:
        path: the file; it and its folder are created where they are missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._end = 0
        self._torn = False
        self._identity = (0, 0)

    @property
    def removed(self) -> bool:
        """Whether somebody has removed the file, or put another one in its place, since it was opened."""
        if self._descriptor is None:
            return False
        try:
            at_path = os.stat(self.path)  # noqa: PTH116  (called for each line; a Path takes five times as long)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False
        return (at_path.st_dev, at_path.st_ino) != self._identity

    def open(self) -> None:
        """Open the file and cut its torn tail; does nothing where it is open.

        Raises:
            OSError: it cannot be opened, read or cut.
        """
        if self._descriptor is not None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            opened = os.fstat(descriptor)
            size, self._identity = opened.st_size, (opened.st_dev, opened.st_ino)
            self._end = whole_lines_end(descriptor, size)
            if self._end < size:
                os.ftruncate(descriptor, self._end)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        if size == 0:
            # The file's name has to survive a power cut too, not only its bytes.
            with contextlib.suppress(OSError):
                sync_folder(self.path.parent)

    def append(self, line: str, *, durable: bool) -> None:
        """Write `line` and a newline, all or nothing.

        Args:
            line: without a newline in it.
            durable: wait until the disk has it.

        Raises:
            OSError: it was not written (nothing of it stays), or the disk did not confirm it.
        """
        if self.removed:
            with contextlib.suppress(OSError):
                self.close()
        self.open()
        assert self._descriptor is not None
        if self._torn:
            os.ftruncate(self._descriptor, self._end)
            self._torn = False
        data = memoryview(line.encode() + b"\n")
        self._torn = True
        try:
            written = 0
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._end)
                self._torn = False
            raise
        self._torn = False
        self._end += len(data)
        if durable:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file; a later `append` opens it again."""
        if self._descriptor is not None:
            descriptor, self._descriptor, self._torn = self._descriptor, None, False
            os.close(descriptor)


def whole_lines_end(descriptor: int, size: int) -> int:
    """Where the last whole line ends, in bytes from the start of a file of `size` bytes.

    A last line with its newline is still torn where it is not JSON: after a power cut, blocks can be missing
    before the end of a file. At most this one line is lost.
    """
    end = _after_last_newline(descriptor, size)
    if end == 0:
        return 0
    start = _after_last_newline(descriptor, end - 1)
    try:
        json.loads(os.pread(descriptor, end - start, start))
    except ValueError:
        return start
    return end


def _after_last_newline(descriptor: int, before: int) -> int:
    while before > 0:
        start = max(0, before - _BLOCK_BYTES)
        found = os.pread(descriptor, before - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        before = start
    return 0
