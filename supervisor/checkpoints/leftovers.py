"""What a writer that was killed has left among the checkpoints; what cannot be tidied up is told and done without."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

__all__ = ["empty_folder", "tidy_up"]


def tidy_up(directory: Path) -> list[str]:
    """Finish a replacement half done, drop unfinished directories.

    Args:
        directory: of the checkpoints; it need not exist.

    Returns:
        What could not be tidied up, a sentence each: the run can do without.
    """
    left: list[str] = []
    for replaced in directory.glob(".replaced-step-*"):
        target = directory / replaced.name.removeprefix(".replaced-")
        if target.exists():
            _remove(replaced, left)
            continue
        try:
            replaced.rename(target)
        except OSError as error:
            left.append(f"{replaced} could not be given its name {target.name} again: {error.strerror}")
    for unfinished in directory.glob(".unfinished-*"):
        _remove(unfinished, left)
    return left


def empty_folder(path: Path) -> Path:
    """An empty folder at `path`, or beside it where what stands there cannot be removed.

    Raises:
        OSError: it cannot be made.
    """
    shutil.rmtree(path, ignore_errors=True)
    if os.path.lexists(path):
        path = path.with_name(f"{path.name}-{uuid.uuid4().hex[:8]}")
    path.mkdir()
    return path


def _remove(left_over: Path, left: list[str]) -> None:
    try:
        if left_over.is_dir() and not left_over.is_symlink():
            shutil.rmtree(left_over)
        else:
            left_over.unlink(missing_ok=True)
    except OSError as error:
        left.append(f"{left_over} could not be removed: {error.strerror}")
