"""Which checkpoint of a run is meant: the best, the newest good one, the last, or one by its path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from supervisor.checkpoints import BestRule, best_of
from supervisor.errors import InputError
from supervisor.job import KeepBest
from supervisor.run_layout import RunLayout
from supervisor.saved import CheckpointInfo, committed

__all__ = ["Choice", "choose"]


@dataclass(frozen=True, slots=True)
class Choice:
    """A checkpoint, not yet verified.

    Attributes:
        path: its directory.
        which: why this one, in words: `best: mrr 0.31`.
    """

    path: Path
    which: str


def choose(run_dir: Path, wanted: str | None, keep_best: KeepBest | None) -> Choice:
    """The checkpoint that is meant.

    Args:
        run_dir: the run directory; nothing in it is changed.
        wanted: `best`, `good`, `last`, or a path: from here, or in the run directory or its `checkpoints`. None: the
            best one where there is one, else the newest good one.
        keep_best: what the run keeps as the best.

    Raises:
        InputError: there is no such checkpoint.
    """
    found = committed(RunLayout(run_dir).checkpoints)
    if wanted not in (None, "best", "good", "last"):
        return _by_path(run_dir, Path(str(wanted)))
    if not found:
        raise InputError(f"{run_dir}: has no checkpoint yet: wait for the first one")
    if wanted == "last":
        return Choice(found[0].path, "last")
    if wanted in (None, "best"):
        best = _best(found, keep_best)
        if best is not None:
            return best
        if wanted == "best":
            raise InputError(f"{run_dir}: {_why_no_best(keep_best)}: or write --checkpoint good")
    good = next((info for info in found if info.good), None)
    if good is None:
        raise InputError(f"{run_dir}: none of its {len(found)} checkpoints is good yet: write --checkpoint last")
    newer = "" if wanted is not None or good is found[0] else f"; {found[0].path.name} is newer: --checkpoint last"
    return Choice(good.path, f"newest good one{newer}")


def _best(found: list[CheckpointInfo], keep_best: KeepBest | None) -> Choice | None:
    if keep_best is None:
        return None
    best = best_of(found, BestRule(keep_best.metric, keep_best.mode.value))
    return None if best is None else Choice(best[0].path, f"best: {keep_best.metric} {best[1]:.6g}")


def _why_no_best(keep_best: KeepBest | None) -> str:
    if keep_best is None:
        return "its job keeps no best checkpoint: write `keep_best: {metric: NAME, mode: max}` in the job next time"
    return f"none of its checkpoints was evaluated and gave a finite {keep_best.metric}"


def _by_path(run_dir: Path, path: Path) -> Choice:
    for place in (path, run_dir / path, RunLayout(run_dir).checkpoints / path):
        if place.is_dir():
            # Its name tells its step, which `.` and a link do not.
            return Choice(place.resolve(), "as asked for")
    raise InputError(
        f"--checkpoint {path}: there is no such checkpoint: write best, good, last, or its folder, as step-00000200"
    )
