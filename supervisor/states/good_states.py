"""The states to go back to, in memory and on disk together: put on probation, promoted, let go."""

from __future__ import annotations

from collections.abc import Iterator

from supervisor.checkpoints import BestRule, CheckpointStore, Kept
from supervisor.events import EventLog
from supervisor.experiments import Windows
from supervisor.policy import RecoveryPolicy
from supervisor.states.on_disk import StatesOnDisk
from supervisor.states.probation import Probation
from supervisor.states.restore_points import RestorePoint, Source, SpareCopies

__all__ = ["GoodStates", "StatesInMemory"]


class StatesInMemory:
    """Holds the newest snapshots, on probation or good.

    Args:
        keep: how many good ones are kept; 0: none at all.
        probation_steps: healthy steps in a row until one is good.
        spares: told what is held.

    Attributes:
        last_remembered: the update of the newest snapshot, None before the first.
    """

    def __init__(self, keep: int, probation_steps: int, spares: SpareCopies) -> None:
        self.last_remembered: int | None = None
        self._keep = keep
        self._spares = spares
        self._probation = Probation(probation_steps)
        self._points: dict[int, RestorePoint] = {}

    def __iter__(self) -> Iterator[tuple[Kept, RestorePoint]]:
        """Every snapshot, the oldest first."""
        return ((kept, self._points[kept.update]) for kept in self._probation)

    @property
    def updates(self) -> tuple[int, ...]:
        """Which states are held, by update."""
        return tuple(self._points)

    def remember(self, point: RestorePoint, *, good: bool = False) -> None:
        """Hold a finite state, on probation unless it is good already."""
        if self._keep == 0:
            return
        if point.update in self._points:
            self.remove(point.update)
        self._spares.hold(point)
        self._points[point.update] = point
        self._probation.add(Kept(point.step, point.update, good))
        self.last_remembered = point.update
        self._trim()

    def healthy_step(self) -> None:
        """Count one healthy step for those on probation, and promote those that have seen enough."""
        if self._probation.healthy_step():
            for kept in self._probation.passed():
                self._probation.promote(kept.update)
            self._trim()

    def flagged_step(self) -> None:
        """Make those on probation count their healthy steps anew."""
        self._probation.begin_anew()
        self._trim()

    def remove(self, update: int) -> None:
        """Let one go."""
        self._probation.remove(update)
        self._spares.let_go(self._points.pop(update))

    def abandon_after(self, step: int) -> None:
        """Let go of every state newer than `step`, and of those on probation."""
        for kept in self._probation:
            if kept.step > step or not kept.good:
                self.remove(kept.update)

    def _trim(self) -> None:
        for kept in self._probation.surplus(self._keep):
            self.remove(kept.update)


class GoodStates:
    """Keeps the states that a reload may need.

    A state is added only after it was found finite. It becomes good when `probation_steps` healthy steps in a row
    have followed it; a flagged update makes them count anew.

    Args:
        policy: how many are kept and how long they are on probation.
        store: the checkpoints, or None for memory only.
        log: hears of every state that is rejected, and of every checkpoint.
        windows: what describes a state; None where nothing does.
        best: which checkpoint is kept as the best one; None: none is.

    Attributes:
        memory: those in memory.
        disk: those on disk, None without a store.
        spares: memory for the next copy.
    """

    def __init__(
        self,
        policy: RecoveryPolicy,
        store: CheckpointStore | None,
        log: EventLog,
        windows: Windows | None = None,
        best: BestRule | None = None,
    ) -> None:
        probation = policy.probation_steps
        self.spares = SpareCopies()
        self.memory = StatesInMemory(policy.snapshot.keep, probation, self.spares)
        self.disk: StatesOnDisk | None = None
        if store is not None:
            memory_of = (lambda tree: None) if windows is None else windows.of_checkpoint
            self.disk = StatesOnDisk(policy.checkpoint.keep, probation, store, log, self.spares, memory_of, best)
        self._log = log
        # What a recovery rejects belongs to the update that it answers: a resume from before makes both void.
        self._answered: tuple[int | None, int | None] = (None, None)

    @property
    def any_good(self) -> bool:
        """Whether a reload has anything to go back to."""
        self.flush()
        return any(kept.good for kept, _ in self.memory) or any(kept.good for kept in self.disk or ())

    def healthy_step(self, step: int, update: int) -> None:
        """Count one healthy step for every state on probation, and promote those that have seen enough."""
        if self.disk is not None:
            self.disk.healthy_step((step, update))
        self.memory.healthy_step()

    def answering(self, step: int, update: int) -> None:
        """A flagged update is being answered: what is rejected from here on belongs to it."""
        self._answered = (step, update)

    def forget_newer(self, update: int, step: int, answered: int) -> None:
        """Let go of the states taken after an update that the run has gone back to, with all that followed it.

        Args:
            update: the number of the first update that was undone.
            step: of the update that is answered.
            answered: its number.
        """
        self._answered = (step, answered)
        self.flush()
        for kept in [kept for kept, _ in self.memory if kept.update > update]:
            self.memory.remove(kept.update)
        if self.disk is not None:
            self.disk.abandon_newer(update, self._answered)

    def flagged_step(self) -> None:
        """Make the states on probation count their healthy steps anew."""
        self.memory.flagged_step()
        if self.disk is not None:
            self.disk.flagged_step()

    def newest_good(self) -> Iterator[tuple[Kept, RestorePoint, Source]]:
        """Good states, newest first, memory before disk where both have one; each disk state verified.

        A checkpoint that fails verification is reported and passed over.
        """
        self.flush()
        in_memory = {kept.update: point for kept, point in self.memory}
        held: list[tuple[Kept, Source]] = [(kept, "memory") for kept, _ in self.memory if kept.good]
        held += [(kept, "disk") for kept in self.disk or () if kept.good]
        # By update within a step: weights redrawn on a state are newer than it. "memory" sorts after "disk".
        for kept, source in sorted(held, key=lambda each: (each[0].step, each[0].update, each[1]), reverse=True):
            if source == "memory":
                yield kept, in_memory[kept.update], "memory"
            elif self.disk is not None:
                point = self.disk.load(kept, self._answered)
                if point is not None:
                    yield kept, point, "disk"

    def reject(self, kept: Kept, source: Source, reason: str) -> None:
        """A good state proved bad: never go back to it again."""
        if source == "disk" and self.disk is not None:
            self.disk.reject(kept, reason, self._answered)
            return
        self.memory.remove(kept.update)
        self._log.warn(f"the state of step {kept.step} in memory proved bad ({reason}): passed over", *self._answered)

    def abandon_after(self, step: int) -> None:
        """Let go of every state newer than `step`, and of those on probation: the run has gone back."""
        self.memory.abandon_after(step)
        if self.disk is not None:
            self.disk.abandon_after(step, self._answered)

    def flush(self) -> None:
        """Wait until everything that was begun is on disk."""
        if self.disk is not None:
            self.disk.flush()
