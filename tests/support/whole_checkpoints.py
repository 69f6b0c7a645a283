"""Checkpoints as files: whole ones, for what looks at them without loading their state."""

from __future__ import annotations

from pathlib import Path

from supervisor.saved.manifest import Manifest, sha256_of
from supervisor.saved.verification import MANIFEST_FILE, STATE_FILE

__all__ = ["write_checkpoint"]


def write_checkpoint(checkpoints: Path, step: int) -> Path:
    """Write one that verifies, whose state is a few bytes."""
    folder = checkpoints / f"step-{step:08d}"
    folder.mkdir(parents=True)
    (folder / STATE_FILE).write_bytes(b"a state of step %d" % step)
    manifest = Manifest(step=step, update=step, run_id="r", files={STATE_FILE: sha256_of(folder / STATE_FILE)})
    (folder / MANIFEST_FILE).write_text(manifest.model_dump_json(by_alias=True), encoding="utf-8")
    return folder
