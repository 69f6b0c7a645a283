"""Checkpoints as they lie on disk: their names, which of them are good, and whether one is as it was written."""

from __future__ import annotations

import contextlib
import math
import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from supervisor.errors import CheckpointError, text_of
from supervisor.saved.manifest import GoodMark, Manifest, sha256_of

__all__ = [
    "GOOD_FILE",
    "MANIFEST_FILE",
    "STATE_FILE",
    "CheckpointInfo",
    "committed",
    "is_marked",
    "names_of",
    "newest_verified",
    "verify",
]

STATE_FILE = "state.pt"
MANIFEST_FILE = "manifest.json"
GOOD_FILE = "good.json"
_NAME = re.compile(r"step-(\d{8,})(?:-update-\d{8,})?")


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """A committed checkpoint, not yet verified.

    Attributes:
        step: steps done when it was taken, by its name.
        update: updates attempted by then, by its manifest; None when that cannot be read.
        path: its directory.
        good: it carries the mark of its own manifest.
    """

    step: int
    update: int | None
    path: Path
    good: bool


def committed(directory: Path) -> list[CheckpointInfo]:
    """All directories named as checkpoints, by update, newest first. Nothing is verified yet.

    Those whose manifest cannot be read come first, so that whoever takes the newest has to reject them.

    Args:
        directory: `RUN_DIR/checkpoints`.
    """
    if not directory.is_dir():
        return []
    found = []
    for path in directory.iterdir():
        match = _NAME.fullmatch(path.name)
        if match and path.is_dir():
            found.append(CheckpointInfo(int(match[1]), _update_of(path), path, is_marked(path)))
    return sorted(found, key=lambda it: (math.inf if it.update is None else it.update, it.step), reverse=True)


def verify(path: Path) -> Manifest:
    """The manifest of a checkpoint whose every file is as it was written.

    Raises:
        CheckpointError: the manifest is missing or malformed, or a file is missing, torn or altered.
    """
    try:
        manifest = Manifest.model_validate_json((path / MANIFEST_FILE).read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path.name}: no {MANIFEST_FILE}") from None
    except (OSError, ValidationError) as error:
        raise CheckpointError(f"{path.name}: {MANIFEST_FILE} cannot be read: {_first_line(error)}") from error
    if path.name not in names_of(manifest.step, manifest.update):
        raise CheckpointError(f"{path.name}: its manifest is of step {manifest.step}")
    if STATE_FILE not in manifest.files:
        raise CheckpointError(f"{path.name}: its manifest does not list {STATE_FILE}")
    for name, written in manifest.files.items():
        # A manifest is only text: it must not lead out of the directory.
        if Path(name).name != name or "\0" in name:
            raise CheckpointError(f"{path.name}: {name!r} is not a file of the checkpoint")
        try:
            found = sha256_of(path / name)
        except OSError as error:
            raise CheckpointError(f"{path.name}: {name} cannot be read: {error.strerror}") from error
        if found.bytes != written.bytes:
            raise CheckpointError(f"{path.name}: {name} has {found.bytes} bytes, not {written.bytes}: torn")
        if found.sha256 != written.sha256:
            raise CheckpointError(f"{path.name}: {name} is not what was written (SHA-256 differs)")
    return manifest


def newest_verified(directory: Path) -> CheckpointInfo | None:
    """The newest checkpoint that is as it was written; None where there is none.

    Args:
        directory: `RUN_DIR/checkpoints`.
    """
    for info in committed(directory):
        with contextlib.suppress(CheckpointError):
            verify(info.path)
            return info
    return None


def is_marked(path: Path) -> bool:
    """Whether a checkpoint carries the mark of its own manifest: that it is good."""
    with contextlib.suppress(OSError, ValidationError):
        mark = GoodMark.model_validate_json((path / GOOD_FILE).read_bytes())
        return mark.manifest_sha256 == sha256_of(path / MANIFEST_FILE).sha256
    return False


def names_of(step: int, update: int) -> tuple[str, str]:
    """The directory of the checkpoint of a step, and its name where a good one of that step stands already."""
    return f"step-{step:08d}", f"step-{step:08d}-update-{update:08d}"


def _update_of(path: Path) -> int | None:
    with contextlib.suppress(OSError, ValidationError):
        return Manifest.model_validate_json((path / MANIFEST_FILE).read_bytes()).update
    return None


def _first_line(error: BaseException) -> str:
    return (text_of(error).strip() or type(error).__name__).splitlines()[0]
