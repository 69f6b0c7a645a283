"""What the evaluation gave on the state of a checkpoint: `metrics.json` in its directory."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from supervisor.run_layout import replace_file
from supervisor.saved.manifest import Digest, sha256_of

__all__ = ["read_metrics", "write_metrics"]

MANIFEST_FILE = "manifest.json"
METRICS_FILE = "metrics.json"


class _Measured(BaseModel):
    """The contents of `metrics.json`: finite metrics by name. Of another manifest they count for nothing."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    manifest_sha256: Digest
    metrics: dict[str, float]


def write_metrics(checkpoint: Path, metrics: Mapping[str, float]) -> Path:
    """Write down, durably, what the evaluation gave on a checkpoint's state; what is not finite is left out.

    Args:
        checkpoint: its directory, with the manifest in it.
        metrics: by name.

    Returns:
        The directory.

    Raises:
        OSError: it could not be written.
    """
    finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
    measured = _Measured(manifest_sha256=sha256_of(checkpoint / MANIFEST_FILE).sha256, metrics=finite)
    replace_file(checkpoint / METRICS_FILE, f"{measured.model_dump_json(by_alias=True)}\n", durable=True)
    return checkpoint


def read_metrics(checkpoint: Path) -> dict[str, float] | None:
    """What the evaluation gave on a checkpoint's state; None where it was not evaluated, as far as can be read."""
    with contextlib.suppress(OSError, ValidationError):
        measured = _Measured.model_validate_json((checkpoint / METRICS_FILE).read_bytes())
        if measured.manifest_sha256 == sha256_of(checkpoint / MANIFEST_FILE).sha256:
            return measured.metrics
    return None
