"""The files of a run directory that the guard writes, or their absence."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from supervisor.checkpoints import CheckpointStore
from supervisor.clock import Clock
from supervisor.errors import InputError
from supervisor.events.observation_file import ObservationFile
from supervisor.events.owner_file import claim
from supervisor.events.writer import EventLog, Listener
from supervisor.events.writer_lock import WriterLock, refuse_other_supervisor
from supervisor.policy import RecoveryPolicy, resolved_yaml
from supervisor.record.run_log import ProgressListener
from supervisor.run_layout import RunLayout, replace_file

__all__ = ["Reporting", "RunFiles"]


@dataclass(frozen=True, slots=True)
class Reporting:
    """Where a run writes and who hears of it; see `Guard` for each. `writer` is held once the directory is opened."""

    run_dir: str | Path | None
    resume: bool
    run_id: str | None
    log_every_steps: int
    record_observations: bool
    listeners: Iterable[Listener]
    on_progress: ProgressListener | None
    clock: Clock
    writer: WriterLock = field(default_factory=WriterLock)
    after_halt: bool = False


class RunFiles:
    """Opens what a run writes.

    Args:
        reporting: the run directory, or None to write nothing, and what goes into it.
        policy: written to `policy.yaml`.

    Raises:
        InputError: the directory holds a run already and `resume` is off, or holds none and it is on; or another guard,
            or another `supervisor run`, has it open.

    Attributes:
        log: the event log.
        observations: what every update measured, None where that is not asked for.
        store: the checkpoints, None without a directory.
        layout: where everything lies, likewise.
    """

    def __init__(self, reporting: Reporting, policy: RecoveryPolicy) -> None:
        run_dir, resume, run_id = reporting.run_dir, reporting.resume, reporting.run_id
        clock, listeners = reporting.clock, reporting.listeners
        self.observations: ObservationFile | None = None
        self.store: CheckpointStore | None = None
        self.layout: RunLayout | None = None
        if run_dir is None:
            if resume:
                raise InputError("resume: there is nothing to resume without run_dir: give the run's directory")
            self.log = EventLog(None, run_id or _new_run_id(), 0, clock, listeners)
            return
        directory = Path(run_dir)
        try:
            directory.exists()
        except OSError as error:
            problem = f"{run_dir}: cannot be used ({error.strerror}): choose another run directory"
            raise InputError(problem) from error
        self.layout = layout = RunLayout(directory)
        self.store = CheckpointStore(layout.checkpoints, "", clock)
        refuse_other_supervisor(layout.lock, str(run_dir))
        if layout.writer.exists():
            # Who writes it is told before what it holds.
            reporting.writer.claim(layout.writer, str(run_dir))
        if resume:
            # A writer killed between the two renames of a replacement left the only checkpoint under another name.
            self.store.recover()
        held = layout.rank_events.exists() or bool(self.store.committed())
        if held and not resume:
            how = f"supervisor resume {run_dir}" if layout.of_job else "`resume=True`"
            raise InputError(f"{run_dir}: holds a run already: resume it ({how}), or choose another run directory")
        if resume and not self.store.committed():
            anew = "start the run without `resume=True`"
            if layout.of_job:
                anew = "move it away and start the run anew, without --resume, or with another --run-dir"
            raise InputError(f"{run_dir}: no checkpoint to resume from: {anew}")
        reporting.writer.claim(layout.writer, str(run_dir))
        run_id = run_id or _earlier_run_id(layout.rank_events) or _new_run_id()
        self.log = EventLog(layout.rank_events, run_id, 0, clock, listeners)
        self.store = CheckpointStore(layout.checkpoints, run_id, clock)
        for problem in self.store.recover():
            self.log.warn(problem)
        claim(layout.lock, unless_parents=True)
        if reporting.record_observations:
            self.observations = ObservationFile(layout.observations)
        try:
            _write_if_changed(layout.policy, resolved_yaml(policy))
        except OSError as error:
            problem = f"{run_dir}: cannot be written ({error.strerror}): choose another run directory"
            raise InputError(problem) from error


def _write_if_changed(path: Path, text: str) -> None:
    """A run that is resumed on a full disk needs no room for what stands there already."""
    if not path.is_file() or path.read_bytes() != text.encode():
        replace_file(path, text)


def _new_run_id() -> str:
    return uuid.uuid4().hex[:12]


def _earlier_run_id(events: Path) -> str | None:
    try:
        with events.open(encoding="utf-8") as file:
            first = json.loads(file.readline())
        return str(first["run_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
