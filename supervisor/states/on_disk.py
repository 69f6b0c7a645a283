"""Restore points on disk: checkpoints, written beside the training by a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from supervisor.checkpoints import BackgroundWriter, BestRule, CheckpointStore, Kept, read_metrics, write_metrics
from supervisor.errors import CheckpointError
from supervisor.events import EventLog
from supervisor.events.schema import (
    BestCheckpointEvent,
    CheckpointPromotedEvent,
    CheckpointRejectedEvent,
    CheckpointSavedEvent,
)
from supervisor.experiments import Memory
from supervisor.saved import CheckpointInfo
from supervisor.states.best import BestCheckpoints
from supervisor.states.probation import Probation
from supervisor.states.restore_points import RestorePoint, SpareCopies, last_update

__all__ = ["StatesOnDisk"]

Metrics = Mapping[str, float] | None
At = tuple[int | None, int | None]
"""The step and the update that a line of the event log belongs to."""

AboutOne = CheckpointSavedEvent | CheckpointPromotedEvent | CheckpointRejectedEvent
"""The events about one checkpoint."""


class StatesOnDisk:
    """Holds the checkpoints of a run, on probation or good.

    Whatever depends on what is on the disk waits for the writing thread first, so that no decision depends on the
    disk's speed.

    Args:
        keep: how many good ones are kept.
        probation_steps: healthy steps in a row until one is good.
        store: the checkpoints.
        log: hears of every checkpoint saved, promoted and rejected.
        spares: told what is held.
        memory_of: gives the windows and canaries that a checkpoint holds.
        rule: which checkpoint is kept as the best one beside those; None: none is.

    Attributes:
        best: which one that is.
    """

    def __init__(
        self,
        keep: int,
        probation_steps: int,
        store: CheckpointStore,
        log: EventLog,
        spares: SpareCopies,
        memory_of: Callable[[Mapping[str, Any]], Memory | None] = lambda tree: None,
        rule: BestRule | None = None,
    ) -> None:
        self._keep = keep
        self._probation = Probation(probation_steps)
        self._store = store
        self._log = log
        self._spares = spares
        self._memory_of = memory_of
        self.best = BestCheckpoints(rule)
        self._writer = BackgroundWriter()
        # By update, of those whose write has ended.
        self._paths: dict[int, Path] = {}
        self._told: set[str] = set()

    def __iter__(self) -> Iterator[Kept]:
        """Every checkpoint that was begun and not let go."""
        return iter(self._probation)

    def holds(self, update: int) -> bool:
        """Whether the state after so many updates is on disk, or on its way there."""
        return update in self._probation

    def verified(self, update: int, at: At) -> bool:
        """Whether the state after so many updates is on disk, read again and found as it was written."""
        self.flush()
        if update in self._paths:
            try:
                self._store.verify(self._paths[update])
            except CheckpointError as error:
                self.reject(self._probation[update], str(error), at)
        return update in self._paths

    def is_good(self, update: int) -> bool:
        """Whether the state after so many updates is held, and is good."""
        return update in self._probation and self._probation[update].good

    def save(
        self, point: RestorePoint, tree: Any, *, good: bool = False, wait: bool = False, metrics: Metrics = None
    ) -> None:
        """Begin to commit a finite state.

        A disk that refuses is reported as a warning: the training goes on with the older ones.

        Args:
            point: the state.
            tree: what to write, the point in it; it belongs to the writer from here on.
            good: it is good already.
            wait: return when it is on disk.
            metrics: what the evaluation gave on it, where it was evaluated.
        """
        # One at a time, so that a slow disk never holds more than one copy.
        self._writer.settle(wait=True)
        kept = self._probation.add(Kept(point.step, point.update, good))
        self._spares.hold(point)
        if metrics is not None:
            self.best.note(point.update, metrics)
        self._writer.begin(
            lambda: self._store.write(point.step, point.update, tree, good=kept.good, metrics=metrics),
            lambda done: self._written(point, done),
        )
        self._writer.settle(wait=wait)

    def measured(self, update: int, metrics: Mapping[str, float]) -> None:
        """The state after so many updates was evaluated when its checkpoint was on disk already."""
        self._writer.settle(wait=True)
        if update not in self._paths:
            return
        path = self._paths[update]
        self._writer.begin(lambda: write_metrics(path, metrics), lambda done: self._noted(update, metrics, done))
        self._writer.settle(wait=True)

    def healthy_step(self, at: At) -> None:
        """Count one healthy step for those on probation, and promote those that have seen enough."""
        self._writer.settle()
        if self._probation.healthy_step():
            # Promotion belongs to the end of this very step, however slow the disk is.
            self._writer.settle(wait=True)
            for kept in self._probation.passed():
                self._promote(kept, at)
            self._trim()
            self._writer.settle(wait=True)

    def flagged_step(self) -> None:
        """Make those on probation count their healthy steps anew."""
        self._probation.begin_anew()
        self._trim()

    def load(self, kept: Kept, at: At) -> RestorePoint | None:
        """A checkpoint, verified; None where it fails, which is reported."""
        try:
            tree = self._store.load(self._paths[kept.update])
            return RestorePoint.from_tree(tree["moment"], self._memory_of(tree))
        except (CheckpointError, KeyError, TypeError) as error:
            self.reject(kept, str(error), at)
            return None

    def reject(self, kept: Kept, reason: str, at: At) -> None:
        """One proved bad: never go back to it again. Its files stay where they are, as evidence."""
        self._probation.remove(kept.update)
        self.best.forget(kept.update)
        self._say(CheckpointRejectedEvent, kept, self._paths.pop(kept.update), at, reason=reason)

    def abandon_after(self, step: int, at: At) -> None:
        """Let go of every state newer than `step`, and of those on probation: the run has gone back."""
        self._writer.settle(wait=True)
        for kept in [kept for kept in self if kept.step > step or not kept.good]:
            self._abandon(kept, step, at)

    def abandon_newer(self, update: int, at: At) -> None:
        """Let go of every state taken after `update`: what followed it was undone."""
        self._writer.settle(wait=True)
        for kept in [kept for kept in self if kept.update > update]:
            self._abandon(kept, kept.step, at)

    def adopt(self, found: Iterable[CheckpointInfo], resumed_step: int, healthy_steps: Mapping[int, int]) -> None:
        """Take over what is on disk already, as a resumed run finds it.

        Args:
            found: the checkpoint it goes on from, and those of before.
            resumed_step: its step; those beyond it were abandoned by a reload that was killed before it was done.
            healthy_steps: by update, how many each had seen on its probation.
        """
        for info in found:
            if info.update is not None:
                healthy = 0 if info.good else healthy_steps.get(info.update, 0)
                self._probation.add(Kept(info.step, info.update, info.good, healthy))
                self._paths[info.update] = info.path
                if (metrics := read_metrics(info.path)) is not None:
                    self.best.note(info.update, metrics)
        for kept in [kept for kept in self if kept.step > resumed_step]:
            self._abandon(kept, resumed_step, (None, None))

    def healthy_steps(self) -> dict[int, int]:
        """By update, how many healthy steps each checkpoint on probation has seen."""
        return {kept.update: kept.healthy_steps for kept in self if not kept.good}

    def flush(self) -> None:
        """Wait until everything that was begun is on disk."""
        self._writer.settle(wait=True)

    def _written(self, point: RestorePoint, done: Future[Path]) -> None:
        self._spares.let_go(point)
        update, kept, error = point.update, self._probation[point.update], done.exception()
        if error is not None and update not in self._paths:
            # One that was to be written over stands as it was.
            self._probation.remove(update)
            self.best.forget(update)
        if isinstance(error, CheckpointError):
            self._log.warn(f"checkpoint: {error}", kept.step, last_update(update))
            return
        path = done.result()
        for other in [other for other, at in self._paths.items() if at == path and other != update]:
            self._probation.remove(other)
            self.best.forget(other)
            del self._paths[other]
        self._paths[update] = path
        self._tell_once(self._store.unconfirmed)
        # The line belongs to the last update that the checkpoint holds, so that a resume from it keeps the line.
        at = (kept.step, last_update(update))
        self._say(CheckpointSavedEvent, kept, path, at)
        if kept.good:
            self._say(CheckpointPromotedEvent, kept, path, at)
        self._say_where_best(kept, path)
        self._trim()

    def _noted(self, update: int, metrics: Mapping[str, float], done: Future[Path]) -> None:
        if isinstance(error := done.exception(), OSError):
            self._log.warn(f"the metrics could not be written beside the checkpoint: {error.strerror}")
            return
        path = done.result()
        self.best.note(update, metrics)
        self._say_where_best(self._probation[update], path)
        self._trim()

    def _tell_once(self, note: str | None) -> None:
        if note is not None and note not in self._told:
            self._told.add(note)
            self._log.warn(note)

    def _say_where_best(self, kept: Kept, path: Path) -> None:
        rule, best = self.best.rule, self.best.of(self._paths)
        if rule is None or best is None or best[0] != kept.update:
            return
        event = BestCheckpointEvent(
            step=kept.step,
            update=last_update(kept.update),
            checkpoint_step=kept.step,
            path=_relative(path),
            metric=rule.metric,
            value=best[1],
        )
        self._log.emit(event)

    def _promote(self, kept: Kept, at: At) -> None:
        try:
            self._store.promote(self._paths[kept.update])
        except CheckpointError as error:
            # It counts anew, so that a disk that refuses is not asked at every step.
            self._probation.begin_anew(kept.update)
            self._log.warn(f"checkpoint: {error}", *at)
            return
        self._probation.promote(kept.update)
        self._say(CheckpointPromotedEvent, kept, self._paths[kept.update], at)

    def _trim(self) -> None:
        pinned = self.best.pinned(self)
        for kept in self._probation.surplus(self._keep, frozenset(self._paths)):
            if kept.update not in pinned:
                self._retire(kept)

    def _abandon(self, kept: Kept, step: int, at: At) -> None:
        reason = f"abandoned: the run went back to step {step}"
        self._say(CheckpointRejectedEvent, kept, self._paths[kept.update], at, reason=reason)
        self._retire(kept)

    def _retire(self, kept: Kept) -> None:
        self._probation.remove(kept.update)
        self.best.forget(kept.update)
        path = self._paths.pop(kept.update)
        self._writer.begin(lambda: self._store.retire(path), lambda done: self._retired(path, done))

    def _retired(self, path: Path, done: Future[None]) -> None:
        error = done.exception()
        if isinstance(error, OSError):
            self._log.warn(f"{_relative(path)} could not be removed: {error.strerror}")
        else:
            done.result()

    def _say(self, kind: type[AboutOne], kept: Kept, path: Path, at: At, **reason: str) -> None:
        step, update = at
        self._log.emit(kind(step=step, update=update, checkpoint_step=kept.step, path=_relative(path), **reason))


def _relative(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
