"""All runs below a directory, one line each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from supervisor.clock import Clock, SystemClock
from supervisor.display import in_one_line, shortened
from supervisor.errors import InputError, said_by
from supervisor.events import schema
from supervisor.events.base import nonfinite_as_word
from supervisor.events.event_file import EventFile
from supervisor.report.durations import duration
from supervisor.report.status import read_status
from supervisor.run_layout import RunLayout

__all__ = ["RunLine", "plain_runs", "read_runs", "render_runs"]

_LONGEST_PROBLEM = 60
_STYLES = {"finished": "green", "running": "", "interrupted": "", "unknown": ""}


@dataclass(frozen=True, slots=True)
class RunLine:
    """What is told of one run.

    Attributes:
        path: its directory.
        state: as `supervisor status` has it, or `unreadable`.
        step: steps used up.
        steps: where the schedule ends.
        loss: the last one.
        incidents: incidents opened.
        restarts: how often a worker that had died was started again.
        age_seconds: time since its last event.
        problem: why it is unreadable, None where it is not.
    """

    path: str
    state: str
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    incidents: int | None = None
    restarts: int | None = None
    age_seconds: float | None = None
    problem: str | None = None


def find_runs(directory: Path) -> Iterator[Path]:
    """The run directories in and below a directory, in order. Nothing is looked for within one, nor behind links.

    Args:
        directory: where to begin.

    Raises:
        InputError: it is no directory, or cannot be read.
    """
    try:
        with os.scandir(directory):
            pass
    except NotADirectoryError:
        raise InputError(f"{directory}: is a file: name a folder that holds runs") from None
    except OSError as error:
        problem = f"{directory}: cannot be read ({error.strerror}): name a folder that holds runs"
        raise InputError(problem) from error
    return _runs_in(directory)


def _runs_in(directory: Path) -> Iterator[Path]:
    for folder, names, _ in os.walk(directory):
        layout = RunLayout(Path(folder))
        # A rehearsal is two runs in a folder that holds neither.
        if layout.events.name in names and any(layout.events.glob("*.jsonl")):
            names.clear()
            yield layout.root
        else:
            names[:] = sorted(name for name in names if not name.startswith("."))


def run_line(run_dir: Path, now: datetime) -> RunLine:
    """What is told of the run in a directory; whatever is wrong with it is told too.

    Args:
        run_dir: the directory.
        now: the time that ages are counted to.
    """
    try:
        status = read_status(run_dir)
        return RunLine(
            path=str(run_dir),
            state=str(status.state),
            step=status.step,
            steps=status.steps,
            loss=status.loss,
            incidents=status.incidents,
            restarts=_restarts(run_dir),
            age_seconds=None if status.updated is None else (now - status.updated).total_seconds(),
        )
    except Exception as error:  # noqa: BLE001  (one broken directory must not hide the others)
        problem = str(error) if isinstance(error, InputError) else said_by(error)
        return RunLine(path=str(run_dir), state="unreadable", problem=problem.removeprefix(f"{run_dir}: "))


def _restarts(run_dir: Path) -> int:
    """How often a worker was started after one that had died, by the parent's log, which is short."""
    path, died, restarts = RunLayout(run_dir).parent_events, False, 0
    if not path.is_file():
        return 0
    for event in EventFile(path).events():
        match event:
            case schema.WorkerExitedEvent():
                died = event.classification not in schema.ORDERLY_EXITS
            case schema.WorkerStartedEvent() if died:
                died, restarts = False, restarts + 1
    return restarts


def render_runs(lines: list[RunLine]) -> Table:
    """A table, one line a run."""
    table = Table(box=None, pad_edge=False)
    for title in ("run", "status"):
        table.add_column(title, no_wrap=True, overflow="ellipsis")
    for title in ("step", "loss", "incidents", "restarts", "last event"):
        table.add_column(title, justify="right", no_wrap=True)
    for line in lines:
        state = line.state if line.problem is None else f"{line.state}: {line.problem}"
        style = _STYLES.get(line.state, "bold red")
        table.add_row(
            Text(in_one_line(line.path)),
            Text(in_one_line(shortened(state, _LONGEST_PROBLEM)), style=style),
            "" if line.step is None else f"{line.step} of {'?' if line.steps is None else line.steps}",
            "" if line.loss is None else f"{line.loss:.4g}",
            "" if line.incidents is None else str(line.incidents),
            "" if line.restarts is None else str(line.restarts),
            "" if line.age_seconds is None else f"{duration(line.age_seconds)} ago",
        )
    return table


def plain_runs(lines: list[RunLine]) -> list[dict[str, Any]]:
    """The same for JSON."""
    return [{name: nonfinite_as_word(value) for name, value in asdict(line).items()} for line in lines]


def read_runs(directory: Path, clock: Clock | None = None) -> list[RunLine]:
    """What is told of every run in and below a directory.

    Raises:
        InputError: it cannot be read.
    """
    now = (clock or SystemClock()).now()
    return [run_line(run_dir, now) for run_dir in find_runs(directory)]
