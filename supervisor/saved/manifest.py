"""What a checkpoint says of itself: `manifest.json`, and the mark that it is good."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

__all__ = ["Digest", "FileRecord", "GoodMark", "Manifest", "sha256_of"]

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256, hexadecimal."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", populate_by_name=True)


class FileRecord(_Record):
    """SHA-256 (hexadecimal) and size of one file of the checkpoint."""

    sha256: Digest
    bytes: NonNegativeInt


class Manifest(_Record):
    """The contents of `manifest.json`.

    Attributes:
        schema_version: 1; `schema` in the file.
        step: steps done when the state was taken.
        update: updates attempted by then.
        run_id: the run that wrote it.
        files: every file beside the manifest, by name.
    """

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    step: NonNegativeInt
    update: NonNegativeInt
    run_id: str
    files: dict[str, FileRecord]


class GoodMark(_Record):
    """The contents of `good.json`: which manifest was promoted. A mark of another manifest counts for nothing."""

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    manifest_sha256: Digest


def sha256_of(path: Path) -> FileRecord:
    """Digest and size of a file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        # What it loads is not to be waited for by a look at a run.
        import hashlib

        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileRecord(sha256=digest, bytes=path.stat().st_size)
