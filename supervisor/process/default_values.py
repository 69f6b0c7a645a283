"""What a trainer takes where a job's config says nothing: found out in a process of its own, for a message alone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

from supervisor.process.shadowing import command

__all__ = ["with_default_values"]

LONGEST_SECONDS = 60.0
"""Within them a trainer is imported, or nobody waits for it."""


def with_default_values(trainer: str, config: Mapping[Any, Any]) -> dict[str, Any] | None:
    """A job's config with all that its trainer fills in.

    Args:
        trainer: `module:Class`, whose constructor takes a pydantic model.
        config: as the job has it.

    Returns:
        Plain values by name; None where they cannot be told.
    """
    started = [*command("supervisor.process.default_values_entry"), trainer]
    try:
        told = json.dumps(config)
        done = subprocess.run(started, input=told, capture_output=True, text=True, check=False, timeout=LONGEST_SECONDS)
        # The trainer's module may print something as it is imported.
        found = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None
    except (OSError, TypeError, ValueError, IndexError, subprocess.TimeoutExpired):
        return None
    return found if isinstance(found, dict) else None
