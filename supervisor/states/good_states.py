"""The states to go back to, in memory and on disk together: put on probation, promoted, let go."""

from __future__ import annotations

from collections.abc import Iterator

from supervisor.checkpoints import CheckpointStore, Kept
from supervisor.events import EventLog
from supervisor.events.schema import WarningEvent
from supervisor.policy import RecoveryPolicy
from supervisor.states.in_memory import StatesInMemory
from supervisor.states.on_disk import StatesOnDisk
from supervisor.states.restore_points import RestorePoint, Source, SpareCopies

__all__ = ["GoodStates"]


class GoodStates:
    """Keeps the states that a reload may need.

    A state is added only after it was found finite. It becomes good when `probation_steps` healthy steps in a row
    have followed it; a flagged update makes them count anew.

    Args:
        policy: how many are kept and how long they are on probation.
        store: the checkpoints, or None for memory only.
        log: hears of every state that is rejected, and of every checkpoint.

    Attributes:
        memory: those in memory.
        disk: those on disk, None without a store.
        spares: memory for the next copy.
    """

    def __init__(self, policy: RecoveryPolicy, store: CheckpointStore | None, log: EventLog) -> None:
        probation = policy.probation_steps
        self.spares = SpareCopies()
        self.memory = StatesInMemory(policy.snapshot.keep, probation, self.spares)
        self.disk: StatesOnDisk | None = None
        if store is not None:
            self.disk = StatesOnDisk(policy.checkpoint.keep, probation, store, log, self.spares)
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

    def flagged_step(self, step: int, update: int) -> None:
        """Make the states on probation count their healthy steps anew."""
        self._answered = (step, update)
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
        for kept, source in sorted(held, key=_age, reverse=True):
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
        message = f"the state of step {kept.step} in memory proved bad ({reason}): passed over"
        step, update = self._answered
        self._log.emit(WarningEvent(step=step, update=update, message=message))

    def abandon_after(self, step: int) -> None:
        """Let go of every state newer than `step`, and of those on probation: the run has gone back."""
        self.memory.abandon_after(step)
        if self.disk is not None:
            self.disk.abandon_after(step, self._answered)

    def flush(self) -> None:
        """Wait until everything that was begun is on disk."""
        if self.disk is not None:
            self.disk.flush()


def _age(held: tuple[Kept, Source]) -> tuple[int, int, Source]:
    kept, source = held
    # By update within a step: weights redrawn on a state are newer than it. "memory" sorts after "disk".
    return kept.step, kept.update, source
