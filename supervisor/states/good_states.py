"""The states to go back to, in memory and on disk: taken, put on probation, promoted, let go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from supervisor.checkpoints import BackgroundWriter, CheckpointInfo, CheckpointStore, Kept, surplus
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
from supervisor.training.state import TrainingState

__all__ = ["GoodStates"]


class GoodStates:
    """Keeps the states that a reload may need.

    A state is added only after it was found finite. It becomes good when `probation_steps` healthy steps in a row
    have followed it; a flagged update makes them count anew. The disk is written to by a thread; whatever depends on
    what is on the disk waits for it first.

    Args:
        policy: how many are kept and how long they are on probation.
        store: the checkpoints, or None for memory only.
        log: hears of every checkpoint saved, promoted and rejected.
    """

    def __init__(self, policy: RecoveryPolicy, store: CheckpointStore | None, log: EventLog) -> None:
        self._policy = policy
        self._store = store
        self._log = log
        self._writer = BackgroundWriter()
        # By update, which tells every state of a run apart.
        self._memory: dict[int, tuple[Kept, Moment]] = {}
        self._disk: dict[int, Kept] = {}
        self._paths: dict[int, Path] = {}
        self.last_remembered: int | None = None
        self._writing: Moment | None = None
        self._spare: TrainingState | None = None
        # What a recovery rejects belongs to the update that it answers: a resume from before makes both void.
        self._flagged: tuple[int | None, int | None] = (None, None)

    @property
    def updates_in_memory(self) -> tuple[int, ...]:
        """Which states are held in memory, by update."""
        return tuple(self._memory)

    @property
    def any_good(self) -> bool:
        """Whether a reload has anything to go back to."""
        self._writer.settle(wait=True)
        return any(kept.good for kept in (*(kept for kept, _ in self._memory.values()), *self._disk.values()))

    def remember(self, moment: Moment, *, good: bool = False) -> None:
        """Keep a finite state in memory, on probation unless it is good already."""
        if self._policy.snapshot.keep > 0:
            self._memory[moment.update] = (self._newly_kept(moment.step, moment.update, good), moment)
            self.last_remembered = moment.update
            self._trim()

    def take_spare(self) -> TrainingState | None:
        """A copy that nobody needs any more, for the next one to be written into; None where there is none."""
        spare, self._spare = self._spare, None
        return spare

    def save(self, moment: Moment, tree: dict[str, Any], *, good: bool = False, wait: bool = False) -> None:
        """Begin to commit a finite state as a checkpoint, where there is a store.

        A disk that refuses is reported as a warning: the training goes on with the older ones.

        Args:
            moment: the state.
            tree: what to write, the moment in it; it belongs to the writer from here on.
            good: it is good already.
            wait: return when it is on disk.
        """
        store, step, update = self._store, moment.step, moment.update
        if store is None:
            return
        # One at a time, so that a slow disk never holds more than one copy.
        self._writer.settle(wait=True)
        kept = self._newly_kept(step, update, good)
        self._disk[update] = kept
        self._writing = moment
        self._writer.begin(
            lambda: store.write(step, update, tree, good=kept.good), lambda done: self._written(moment, done)
        )
        self._writer.settle(wait=wait)

    def healthy_step(self, step: int, update_now: int) -> None:
        """Count one healthy step for every state on probation, and promote those that have seen enough."""
        self._writer.settle()
        promoted = False
        for at, (kept, moment) in self._memory.items():
            if not kept.good:
                counted = _counted(kept)
                if self._has_passed(counted):
                    counted, promoted = replace(counted, good=True), True
                self._memory[at] = (counted, moment)
        passed = False
        for at, kept in self._disk.items():
            if not kept.good:
                self._disk[at] = _counted(kept)
                passed |= self._has_passed(self._disk[at])
        if passed:
            # Promotion belongs to the end of this very step, however slow the disk is.
            self._writer.settle(wait=True)
            for kept in [kept for kept in self._disk.values() if self._has_passed(kept)]:
                self._promote(kept, step, update_now)
        if promoted or passed:
            self._trim()
            self._writer.settle(wait=passed)

    def flagged_step(self, step: int, update: int) -> None:
        """Make the states on probation count their healthy steps anew."""
        self._flagged = (step, update)
        self._memory = {update: (_anew(kept), moment) for update, (kept, moment) in self._memory.items()}
        self._disk = {update: _anew(kept) for update, kept in self._disk.items()}
        self._trim()

    def newest_good(self) -> Iterator[tuple[Kept, Moment, Source]]:
        """Good states, newest first, memory before disk where both have one; each disk state verified.

        A checkpoint that fails verification is reported and passed over.
        """
        self._writer.settle(wait=True)
        held: list[tuple[Kept, Source]] = [(kept, "memory") for kept, _ in self._memory.values() if kept.good]
        held += [(kept, "disk") for kept in self._disk.values() if kept.good]
        for kept, source in sorted(held, key=_age, reverse=True):
            if source == "memory":
                yield kept, self._memory[kept.update][1], "memory"
            else:
                moment = self._load(kept)
                if moment is not None:
                    yield kept, moment, "disk"

    def reject(self, kept: Kept, source: Source, reason: str) -> None:
        """A good state proved bad: never go back to it again. Files stay where they are, as evidence."""
        if source == "disk":
            del self._disk[kept.update]
            self._say_rejected(kept, self._paths.pop(kept.update), reason)
            return
        del self._memory[kept.update]
        message = f"the state of step {kept.step} in memory proved bad ({reason}): passed over"
        step, update = self._flagged
        self._log.emit(WarningEvent(step=step, update=update, message=message))

    def abandon_after(self, step: int) -> None:
        """Let go of every state newer than `step`, and of those on probation: the run has gone back."""
        self._writer.settle(wait=True)
        self._memory = {u: held for u, held in self._memory.items() if held[0].step <= step and held[0].good}
        for kept in [kept for kept in self._disk.values() if kept.step > step or not kept.good]:
            self._abandon(kept, step)

    def adopt(self, found: Iterable[CheckpointInfo], resumed_step: int, healthy_steps: Mapping[int, int]) -> None:
        """Take over checkpoints that are on disk already, as a resumed run finds them.

        Args:
            found: the one it goes on from, and those of before.
            resumed_step: its step; the states beyond it were abandoned by a reload that was killed before it was done.
            healthy_steps: by update, how many each had seen on its probation.
        """
        for info in found:
            if info.update is not None:
                healthy = 0 if info.good else healthy_steps.get(info.update, 0)
                self._disk[info.update] = Kept(info.step, info.update, info.good, healthy)
                self._paths[info.update] = info.path
        for kept in [kept for kept in self._disk.values() if kept.step > resumed_step]:
            self._abandon(kept, resumed_step)

    def healthy_steps_on_disk(self) -> dict[int, int]:
        """By update, how many healthy steps each checkpoint on probation has seen."""
        return {update: kept.healthy_steps for update, kept in self._disk.items() if not kept.good}

    def flush(self) -> None:
        """Wait until everything that was begun is on disk."""
        self._writer.settle(wait=True)

    def _written(self, moment: Moment, done: Future[Path]) -> None:
        update, self._writing = moment.update, None
        kept = self._disk[update]
        if update not in self._memory:
            self._spare = moment.training
        if isinstance(done.exception(), CheckpointError):
            del self._disk[update]
            self._log.emit(
                WarningEvent(step=kept.step, update=_last(update), message=f"checkpoint: {done.exception()}")
            )
            return
        path = done.result()
        for other in [other for other, at in self._paths.items() if at == path]:
            del self._disk[other], self._paths[other]
        self._paths[update] = path
        where = _relative(path)
        # The line belongs to the last update that the checkpoint holds, so that a resume from it keeps the line.
        event = CheckpointSavedEvent(step=kept.step, update=_last(update), checkpoint_step=kept.step, path=where)
        self._log.emit(event)
        if kept.good:
            self._say_promoted(kept, path, kept.step, _last(update))
        self._trim()

    def _has_passed(self, kept: Kept) -> bool:
        return not kept.good and kept.healthy_steps >= self._policy.probation_steps

    def _promote(self, kept: Kept, step: int, update: int) -> None:
        if self._store is None:
            return
        try:
            self._store.promote(self._paths[kept.update])
        except CheckpointError as error:
            # It counts anew, so that a disk that refuses is not asked at every step.
            self._disk[kept.update] = _anew(kept)
            self._log.emit(WarningEvent(step=step, update=update, message=f"checkpoint: {error}"))
            return
        self._disk[kept.update] = replace(kept, good=True)
        self._say_promoted(kept, self._paths[kept.update], step, update)

    def _load(self, kept: Kept) -> Moment | None:
        if self._store is None:
            return None
        try:
            return Moment.from_tree(self._store.load(self._paths[kept.update])["moment"])
        except (CheckpointError, KeyError, TypeError) as error:
            self.reject(kept, "disk", str(error))
            return None

    def _newly_kept(self, step: int, update: int, good: bool) -> Kept:
        return Kept(step, update, good or self._policy.probation_steps == 0)

    def _trim(self) -> None:
        for kept in surplus([kept for kept, _ in self._memory.values()], self._policy.snapshot.keep):
            _, moment = self._memory.pop(kept.update)
            if moment is not self._writing:
                self._spare = moment.training
        on_disk = [kept for update, kept in self._disk.items() if update in self._paths]
        for kept in surplus(on_disk, self._policy.checkpoint.keep):
            self._retire(kept)

    def _abandon(self, kept: Kept, step: int) -> None:
        self._say_rejected(kept, self._paths[kept.update], f"abandoned: the run went back to step {step}")
        self._retire(kept)

    def _retire(self, kept: Kept) -> None:
        del self._disk[kept.update]
        path, store = self._paths.pop(kept.update), self._store
        if store is not None:
            self._writer.begin(lambda: store.retire(path), lambda done: self._retired(path, done))

    def _retired(self, path: Path, done: Future[None]) -> None:
        error = done.exception()
        if isinstance(error, OSError):
            self._log.emit(WarningEvent(message=f"{_relative(path)} could not be removed: {error.strerror}"))
        else:
            done.result()

    def _say_promoted(self, kept: Kept, path: Path, step: int, update: int | None) -> None:
        event = CheckpointPromotedEvent(step=step, update=update, checkpoint_step=kept.step, path=_relative(path))
        self._log.emit(event)

    def _say_rejected(self, kept: Kept, path: Path, reason: str) -> None:
        step, update = self._flagged
        event = CheckpointRejectedEvent(
            step=step, update=update, checkpoint_step=kept.step, path=_relative(path), reason=reason
        )
        self._log.emit(event)


def _counted(kept: Kept) -> Kept:
    return Kept(kept.step, kept.update, kept.good, kept.healthy_steps + 1)


def _anew(kept: Kept) -> Kept:
    return kept if kept.good else replace(kept, healthy_steps=0)


def _age(held: tuple[Kept, Source]) -> tuple[int, int, Source]:
    kept, source = held
    # By update within a step: weights redrawn on a state are newer than it. "memory" sorts after "disk".
    return kept.step, kept.update, source


def _last(update: int) -> int | None:
    """The last update attempted before the next is `update`."""
    return update - 1 if update else None


def _relative(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
