"""What the process is told that tries a job: one JSON object on its standard input."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from supervisor.process.spec import WorkerSpec

__all__ = ["PreflightSpec"]


class PreflightSpec(BaseModel):
    """A job to try.

    Attributes:
        worker: the job, as its worker would get it; its run directory is the real one, which is not touched.
        source: the job file as the user typed it.
        rows: how many rows of the data are looked at, None for all.
        folder: where files go that do not outlive the preflight.
    """

    model_config = ConfigDict(frozen=True)

    worker: WorkerSpec
    source: str
    rows: int | None
    folder: Path

    @property
    def report(self) -> Path:
        """The file that gets what was found."""
        return self.folder / "report.json"

    @property
    def phase(self) -> Path:
        """The file that says what is being done, for when the process dies of it."""
        return self.folder / "phase"

    @property
    def quarantine(self) -> Path:
        """The rows that the updates are tried without."""
        return self.folder / "quarantine.jsonl"

    @property
    def run_dir(self) -> Path:
        """The run directory of the updates."""
        return self.folder / "run"
