"""The restart budget: so many failures within so much time, in a file that no checkpoint or resume resets."""

from __future__ import annotations

import contextlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from supervisor.policy import RestartSettings
from supervisor.run_layout import replace_file

__all__ = ["RestartBudget"]


class _Record(BaseModel):
    model_config = ConfigDict(strict=True)

    failures: list[float] = []


class RestartBudget:
    """Counts the failures of a run's workers within a sliding window of wall time.

    Args:
        path: `RUN_DIR/restarts.json`; read when it is there, written at each failure.
        settings: how many restarts within how many seconds.
    """

    def __init__(self, path: Path, settings: RestartSettings) -> None:
        self._path = path
        self._settings = settings
        self._failures: list[float] = []
        with contextlib.suppress(OSError, ValidationError):
            self._failures = _Record.model_validate_json(path.read_bytes()).failures

    def fail(self, now: float) -> None:
        """Count a failure, durably.

        Args:
            now: wall time, in seconds since the epoch.
        """
        self._failures = [*self._recent(now), now]
        # On a full disk the count goes on in memory, for as long as this parent lives.
        with contextlib.suppress(OSError):
            replace_file(self._path, _Record(failures=self._failures).model_dump_json(), durable=True)

    def begin_anew(self) -> None:
        """Forget the failures so far: somebody has looked into them."""
        self._failures = []
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def failures(self, now: float) -> int:
        """Failures within the window that ends now."""
        return len(self._recent(now))

    def spent(self, now: float) -> bool:
        """Whether one more restart would be one too many."""
        return self.failures(now) > self._settings.max_restarts

    def _recent(self, now: float) -> list[float]:
        # A clock that was set back must not make failures last for ever.
        return [at for at in self._failures if abs(now - at) < self._settings.window_seconds]
