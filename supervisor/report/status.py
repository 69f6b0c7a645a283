"""Where a run stands, by its event log, its checkpoints, and whether its processes are still there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from supervisor.clock import Clock
from supervisor.errors import InputError
from supervisor.events.quarantine_file import read_quarantine
from supervisor.events.reader import read_sparsely
from supervisor.events.schema import Event
from supervisor.report.liveness import as_it_lives
from supervisor.report.run_facts import RunFacts
from supervisor.report.run_status import RunState, Status
from supervisor.run_layout import RunLayout
from supervisor.saved import CheckpointInfo, committed

__all__ = ["RunState", "Status", "as_it_is_on_disk", "read_status", "status_of"]


def read_status(run_dir: Path, clock: Clock | None = None) -> Status:
    """The status of the run in `run_dir`.

    Args:
        run_dir: the run directory.
        clock: says what time it is.

    Raises:
        InputError: there is no run here, or its log is damaged before its end.
    """
    facts = RunFacts()
    for event, void in read_sparsely(run_dir):
        facts.tell(event, void=void)
    return as_it_is_on_disk(facts, run_dir, clock)


def status_of(events: Iterable[Event]) -> Status:
    """The status after `events`, of which no resume has made one void; nothing else is asked."""
    facts = RunFacts()
    for event in events:
        facts.tell(event)
    return facts.status()


def as_it_is_on_disk(facts: RunFacts, run_dir: Path, clock: Clock | None = None) -> Status:
    """The status by what the log tells, and by what is there: checkpoints, samples left out, and processes."""
    layout, status = RunLayout(run_dir), facts.status()
    found = [each for each in committed(layout.checkpoints) if each.update is not None]
    usable = [each for each in found if _relative(each) not in facts.rejected]
    good = [each for each in usable if each.good]
    there: dict[str, object] = {
        "last_checkpoint": _relative(usable[0]) if usable else None,
        "last_good_checkpoint": _relative(good[0]) if good else None,
    }
    with contextlib.suppress(InputError):
        if layout.quarantine.is_file():
            # Samples are also released again.
            there["quarantined"] = tuple(sample.index for sample in read_quarantine(layout.quarantine))
    if status.state is RunState.FINISHED and facts.saved and not usable:
        there |= {
            "state": RunState.UNSAVED,
            "reason": "its log says that it finished, and no checkpoint of it is there",
        }
    return as_it_lives(status.model_copy(update=there), layout, clock)


def _relative(info: CheckpointInfo) -> str:
    return f"{info.path.parent.name}/{info.path.name}"
