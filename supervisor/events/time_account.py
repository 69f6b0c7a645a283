"""Where the wall time of a run went, in seconds."""

from __future__ import annotations

import math

from supervisor.events.base import Number, RecordModel

__all__ = ["TimeAccount"]


class TimeAccount(RecordModel):
    """The wall time of a run over all lives of its worker, in parts that add up to it. All in seconds.

    The time between an end in good order (finished, interrupted, halted) and a resume belongs to no part: nobody asked
    the run to train.

    Attributes:
        start_up: imports, building the trainer, restoring a checkpoint: until training begins, in each life.
        training: updates that were applied and kept.
        wasted: updates that were discarded, gone back over or lost with a process.
        recovery: diagnosis, experiments, trials of cures, and actions.
        checkpoints: snapshots and checkpoints, as far as the training waited for them.
        down: no worker at work: dead or standing still, until the next one is started.
        other: waiting for data, evaluation, the guard's own work, ending the process.
        paused: beside the wall time: between ends in good order and resumes.
    """

    start_up: Number = 0.0
    training: Number = 0.0
    wasted: Number = 0.0
    recovery: Number = 0.0
    checkpoints: Number = 0.0
    down: Number = 0.0
    other: Number = 0.0
    paused: Number = 0.0

    @property
    def parts(self) -> dict[str, float]:
        """What adds up to the wall time, by name."""
        return {name: getattr(self, name) for name in type(self).model_fields if name != "paused"}

    @property
    def seconds(self) -> float:
        """The wall time."""
        return math.fsum(self.parts.values())

    @property
    def goodput(self) -> float | None:
        """Useful preserved training time over wall time, 0 to 1; None before anything was trained."""
        return self.training / self.seconds if self.training > 0 else None
