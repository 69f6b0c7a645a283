"""All that a page shows of a run, gathered in one pass over its log; arrays and rows are kept, not events."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from supervisor.errors import InputError
from supervisor.events import schema
from supervisor.events.event_file import EventFile
from supervisor.events.reader import merged
from supervisor.events.schema import Event
from supervisor.events.sparse_file import SparseFile
from supervisor.page.checkpoints import CheckpointRow, Checkpoints
from supervisor.page.curves import Curves
from supervisor.page.lives import Life, Lives
from supervisor.page.ranks import RankRow, Ranks
from supervisor.page.resolved import resolved_text
from supervisor.policy import load_policy
from supervisor.report.story import RunStory, read_story
from supervisor.run_layout import RunLayout

__all__ = ["Progress", "RunData", "gather", "log_bytes"]

Progress = Callable[[int], None]
"""Is told how many bytes of the log have been read, now and then."""

_TOLD_EVERY = 4096


@dataclass(frozen=True, slots=True)
class RunData:
    """One run, as a page shows it.

    Attributes:
        name: the name of its directory.
        run_dir: the directory as the user typed it.
        story: where it stands, and its incidents: what `supervisor status` and `supervisor explain` tell.
        curves: what was measured.
        experiments: those of each incident, by its number.
        checkpoints: what became of each.
        lives: its processes.
        ranks: what each rank has told.
        ladder: the actions of its rungs, lowest first; empty where its policy cannot be read.
        job: its job file, without secrets.
        policy: its policy, without secrets.
    """

    name: str
    run_dir: str
    story: RunStory
    curves: Curves
    experiments: dict[int, tuple[schema.ExperimentEvent, ...]]
    checkpoints: tuple[CheckpointRow, ...]
    lives: tuple[Life, ...]
    ranks: tuple[RankRow, ...]
    ladder: tuple[str, ...]
    job: str
    policy: str


def gather(run_dir: str, progress: Progress | None = None) -> RunData:
    """What a page shows of the run in `run_dir`. Nothing is written there.

    Args:
        run_dir: the run directory, as the user typed it.
        progress: is told how far the log has been read.

    Raises:
        InputError: there is no run, or its log is empty or damaged before its end.
    """
    layout, story = RunLayout(Path(run_dir)), read_story(run_dir, over_damaged=True)
    if story.status.run_id is None:
        raise InputError(f"{run_dir}: its event log holds no event yet: wait until the run has begun")
    curves, checkpoints, lives, ranks, experiments = Curves(), Checkpoints(), Lives(), Ranks(), _Experiments()
    for event, void in _read(layout, progress):
        curves.tell(event, void=void)
        checkpoints.tell(event)
        lives.tell(event)
        ranks.tell(event, void=void)
        experiments.tell(event, void=void)
    return RunData(
        name=layout.root.resolve().name or run_dir,
        run_dir=run_dir,
        story=story,
        curves=curves,
        experiments={number: tuple(found) for number, found in experiments.of.items()},
        checkpoints=tuple(checkpoints.rows()),
        lives=tuple(lives.rows()),
        ranks=tuple(ranks.rows()),
        ladder=_ladder(layout),
        job=resolved_text(layout.job, "job"),
        policy=resolved_text(layout.policy, "policy"),
    )


def log_bytes(run_dir: str) -> int:
    """How large the log of a run is, in bytes; 0 where there is none."""
    return sum(path.stat().st_size for path in RunLayout(Path(run_dir)).event_files())


def _read(layout: RunLayout, progress: Progress | None) -> Iterable[tuple[Event, bool]]:
    """The whole log; of ranks other than the first, whose curves are not drawn, only the last of steps in a row."""
    files: list[EventFile | SparseFile] = [
        EventFile(path, with_void=True) if path in (layout.parent_events, layout.rank_events) else SparseFile(path)
        for path in layout.event_files()
    ]
    for count, marked in enumerate(merged(files)):
        if progress is not None and count % _TOLD_EVERY == 0:
            progress(sum(file.offset for file in files))
        yield marked


def _ladder(layout: RunLayout) -> tuple[str, ...]:
    try:
        return (
            tuple(str(rung.action) for rung in load_policy(str(layout.policy)).ladder)
            if layout.policy.is_file()
            else ()
        )
    except InputError:
        return ()


class _Experiments:
    """Gives each experiment to the incident that was decided on by it."""

    def __init__(self) -> None:
        self.of: dict[int, list[schema.ExperimentEvent]] = {}
        self._undecided: list[schema.ExperimentEvent] = []

    def tell(self, event: Event, *, void: bool) -> None:
        if void or event.rank:
            return
        if isinstance(event, schema.ExperimentEvent):
            self._undecided = [each for each in self._undecided if each.update == event.update]
            self._undecided.append(event)
        elif isinstance(event, schema.DecisionEvent):
            here = [each for each in self._undecided if each.update == event.update]
            self.of.setdefault(event.incident, []).extend(here)
            self._undecided = []
