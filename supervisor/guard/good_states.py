"""The states to go back to, in memory and on disk: taken, put on probation, promoted, let go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from supervisor.checkpoints import CheckpointInfo, CheckpointStore, Kept, surplus
from supervisor.errors import CheckpointError
from supervisor.events import EventLog
from supervisor.events.schema import (
    CheckpointPromotedEvent,
    CheckpointRejectedEvent,
    CheckpointSavedEvent,
    WarningEvent,
)
from supervisor.guard.moments import Moment, Source
from supervisor.policy import RecoveryPolicy

__all__ = ["GoodStates"]


class GoodStates:
    """Keeps the states that a reload may need.

    A state is added only after it was found finite. It becomes good when `probation_steps` healthy steps in a row
    have followed it; a flagged update makes them count anew.

    Args:
        policy: how many are kept and how long they are on probation.
        store: the checkpoints, or None for memory only.
        log: hears of every checkpoint saved, promoted and rejected.
    """

    def __init__(self, policy: RecoveryPolicy, store: CheckpointStore | None, log: EventLog) -> None:
        self._policy = policy
        self._store = store
        self._log = log
        self._memory: dict[Kept, Moment] = {}
        self._disk: dict[Kept, Path] = {}

    @property
    def any_good(self) -> bool:
        """Whether a reload has anything to go back to."""
        return any(kept.good for kept in (*self._memory, *self._disk))

    def remember(self, moment: Moment, *, good: bool = False) -> None:
        """Keep a finite state in memory, on probation unless it is good already."""
        if self._policy.snapshot.keep > 0:
            self._memory[self._newly_kept(moment.step, moment.update, good)] = moment
            self._trim()

    def save(self, step: int, update: int, tree: dict[str, Any], *, good: bool = False) -> None:
        """Commit a finite state as a checkpoint, where there is a store.

        A disk that refuses is reported as a warning: the training goes on with the older ones.
        """
        if self._store is None:
            return
        kept = self._newly_kept(step, update, good)
        try:
            path = self._store.write(step, update, tree, good=kept.good)
        except CheckpointError as error:
            self._log.emit(WarningEvent(step=step, update=update, message=f"checkpoint of {error}"))
            return
        self._disk = {other: at for other, at in self._disk.items() if at != path}
        self._disk[kept] = path
        # The line belongs to the last update that the checkpoint holds, so that a resume from it keeps the line.
        last = update - 1 if update else None
        where = _relative(path)
        self._log.emit(CheckpointSavedEvent(step=step, update=last, checkpoint_step=step, path=where))
        if kept.good:
            self._say_promoted(kept, path, step, last)
        self._trim()

    def healthy_step(self, step: int, update: int) -> None:
        """Count one healthy step for every state on probation, and promote those that have seen enough."""
        if all(kept.good for kept in (*self._memory, *self._disk)):
            return
        self._memory = {self._counted(kept): moment for kept, moment in self._memory.items()}
        self._disk = {self._counted_on_disk(kept, at, step, update): at for kept, at in self._disk.items()}
        self._trim()

    def flagged_step(self) -> None:
        """Make the states on probation count their healthy steps anew."""
        self._memory = {_anew(kept): moment for kept, moment in self._memory.items()}
        self._disk = {_anew(kept): path for kept, path in self._disk.items()}
        self._trim()

    def newest_good(self) -> Iterator[tuple[Kept, Moment, Source]]:
        """Good states, newest first, memory before disk where both have one; each disk state verified.

        A checkpoint that fails verification is reported and passed over.
        """
        good: list[tuple[Kept, Source]] = [(kept, "memory") for kept in self._memory if kept.good]
        good += [(kept, "disk") for kept in self._disk if kept.good]
        for kept, source in sorted(good, key=_age, reverse=True):
            if source == "memory":
                yield kept, self._memory[kept], "memory"
            else:
                moment = self._load(kept)
                if moment is not None:
                    yield kept, moment, "disk"

    def reject(self, kept: Kept, source: Source, reason: str) -> None:
        """A good state proved bad: never go back to it again. Files stay where they are, as evidence."""
        if source == "disk":
            self._say_rejected(kept, self._disk.pop(kept), reason)
            return
        del self._memory[kept]
        message = f"the state of step {kept.step} in memory proved bad ({reason}): passed over"
        self._log.emit(WarningEvent(message=message))

    def abandon_after(self, step: int) -> None:
        """Let go of every state newer than `step`, and of those on probation: the run has gone back."""
        self._memory = {k: moment for k, moment in self._memory.items() if k.step <= step and k.good}
        for kept in [kept for kept in self._disk if kept.step > step or not kept.good]:
            path = self._disk.pop(kept)
            self._say_rejected(kept, path, f"abandoned: the run went back to step {step}")
            self._retire(path)

    def adopt(self, found: Iterable[CheckpointInfo]) -> None:
        """Take over checkpoints that are on disk already, as a resumed run finds them."""
        for info in found:
            if info.update is not None:
                self._disk[Kept(info.step, info.update, info.good)] = info.path

    def _newly_kept(self, step: int, update: int, good: bool) -> Kept:
        return Kept(step, update, good or self._policy.probation_steps == 0)

    def _counted(self, kept: Kept) -> Kept:
        if kept.good:
            return kept
        healthy = kept.healthy_steps + 1
        return replace(kept, healthy_steps=healthy, good=healthy >= self._policy.probation_steps)

    def _counted_on_disk(self, kept: Kept, path: Path, step: int, update: int) -> Kept:
        counted = self._counted(kept)
        if kept.good or not counted.good or self._store is None:
            return counted
        try:
            self._store.promote(path)
        except CheckpointError as error:
            self._log.emit(WarningEvent(step=step, update=update, message=f"checkpoint of {error}"))
            return kept
        self._say_promoted(kept, path, step, update)
        return counted

    def _load(self, kept: Kept) -> Moment | None:
        if self._store is None:
            return None
        try:
            return Moment.from_tree(self._store.load(self._disk[kept])["moment"])
        except (CheckpointError, KeyError, TypeError) as error:
            self.reject(kept, "disk", str(error))
            return None

    def _trim(self) -> None:
        for kept in surplus(list(self._memory), self._policy.snapshot.keep):
            del self._memory[kept]
        for kept in surplus(list(self._disk), self._policy.checkpoint.keep):
            self._retire(self._disk.pop(kept))

    def _retire(self, path: Path) -> None:
        if self._store is None:
            return
        try:
            self._store.retire(path)
        except OSError as error:
            self._log.emit(WarningEvent(message=f"{_relative(path)} could not be removed: {error.strerror}"))

    def _say_promoted(self, kept: Kept, path: Path, step: int, update: int | None) -> None:
        event = CheckpointPromotedEvent(step=step, update=update, checkpoint_step=kept.step, path=_relative(path))
        self._log.emit(event)

    def _say_rejected(self, kept: Kept, path: Path, reason: str) -> None:
        event = CheckpointRejectedEvent(checkpoint_step=kept.step, path=_relative(path), reason=reason)
        self._log.emit(event)


def _anew(kept: Kept) -> Kept:
    return kept if kept.good else replace(kept, healthy_steps=0)


def _age(held: tuple[Kept, Source]) -> tuple[int, int, Source]:
    kept, source = held
    # By update within a step: weights redrawn on a state are newer than it. "memory" sorts after "disk".
    return kept.step, kept.update, source


def _relative(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
