"""Asks a fork whether odd batches can be learnt, and puts on record what it said."""

from __future__ import annotations

from collections.abc import Sequence

from supervisor.errors import ActionError
from supervisor.experiments.examining import Examining
from supervisor.experiments.fork import Forks, Setting, Stopped, Update
from supervisor.experiments.learnable import Learnt, can_be_learnt
from supervisor.experiments.stretch import Stretch
from supervisor.training.state import TrainingState
from supervisor.update import Attempt

__all__ = ["ask_fork"]


def ask_fork(
    examining: Examining, attempt: Attempt, stretch: Stretch, root: TrainingState | None, odd: Sequence[Update]
) -> Learnt | None:
    """Ask a fork whether the odd batches of a stretch can be learnt; None where it cannot be asked.

    Args:
        examining: tries canaries.
        attempt: the present update.
        stretch: whose canaries it is to keep.
        root: what it begins from; None: the state before the present update.
        odd: the batches of the odd updates.
    """
    levels, tools = examining.detectors.levels, examining.tools
    if levels is None or examining.policy.snapshot.keep == 0 or not examining.possible:
        return None
    root = root or tools.subject.capture(before=attempt.before)
    like, held = Setting(max_norm=stretch.norm), examining.detectors.rate.factor
    forks = Forks(tools.subject, tools.executor, root, tools.stopping, held, like)
    started = tools.clock.monotonic()
    try:
        with forks.undone():
            learnt = can_be_learnt(forks, odd, stretch.canaries, levels)
    except (ActionError, Stopped):
        return None
    if learnt is not None:
        found = "unharmed" if learnt.learnt else "harmed" if learnt.known > learnt.known_bar else "unknown"
        examining.tell(attempt, "fork", len(odd), started, found, before=learnt.bar, after=learnt.loss, why=str(learnt))
    return learnt
