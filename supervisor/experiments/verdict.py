"""Whether a state whose canaries are harmed is lost; a fork is asked where they alone cannot tell."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence

import torch

from supervisor.errors import ActionError
from supervisor.experiments import healing
from supervisor.experiments.canaries import Canary
from supervisor.experiments.examining import Examining, never
from supervisor.experiments.fork import Forks, Setting, Stopped, drawn_updates
from supervisor.experiments.harm import Harm
from supervisor.experiments.stretch import Stretch
from supervisor.training.state import TrainingState
from supervisor.update import Attempt

__all__ = ["PERSISTS", "Verdict", "makes_up_for_it", "verdict"]

PERSISTS = 4
"""Odd updates in a row by which, or before which, canaries were harmed, though they heal, until that counts."""

SAME_PLACE = 4
"""Steps within which a harm is the same one that comes back after the run has gone back."""


class Verdict(enum.Enum):
    """What is to be done about a state whose canaries were tried."""

    SOUND = enum.auto()
    """They are unharmed."""
    HEALS = enum.auto()
    """They are harmed, and training makes up for it."""
    MOVED = enum.auto()
    """They measure what is no longer trained for."""
    LOST = enum.auto()
    """The run has to go back."""


class Unasked:
    """No fork can be made: the caller draws the batches, or no state is held in memory."""


def verdict(
    examining: Examining,
    attempt: Attempt,
    said: Harm,
    canaries: Sequence[Canary],
    *,
    root: TrainingState | None = None,
    stretch: Stretch | None = None,
) -> Verdict:
    """Whether a state whose canaries are harmed is lost, so that the run has to go back.

    Args:
        examining: tries canaries.
        attempt: the present update.
        said: what the canaries say.
        canaries: those that were tried.
        root: the state that they were tried on; None: the present one.
        stretch: which the update belongs to, where it was applied.
    """
    if not said.harmed:
        return Verdict.SOUND
    examining.slightly_harmed += 1
    times = max(examining.slightly_harmed, 0 if stretch is None else stretch.harmed)
    if not said.severe and times < PERSISTS:
        return Verdict.HEALS
    healed = _healed(examining, attempt, said, canaries, root, stretch)
    if isinstance(healed, Harm) and not healed.harmed and times < 2 * PERSISTS:
        return Verdict.HEALS
    if _has_moved(examining, attempt, said, healed):
        return Verdict.MOVED
    examining.lost_at = attempt.place.step
    return Verdict.LOST


def makes_up_for_it(examining: Examining, attempt: Attempt, said: Harm, stretch: Stretch, root: TrainingState) -> bool:
    """Whether a fork at a higher rate makes up for the harm of its first update; see `verdict` for the arguments."""
    longer = healing.UPDATES * 2 ** min(3, examining.detectors.rate.refusals)
    healed = _healed(examining, attempt, said, stretch.canaries, root, stretch, longer)
    return isinstance(healed, Harm) and not healed.harmed


def _has_moved(examining: Examining, attempt: Attempt, said: Harm, healed: Harm | Unasked | None) -> bool:
    """Whether what is trained for has changed, and not the state: the harm comes back wherever the run goes back.

    It has to train on from there, where a fork can be asked. Windows and canaries then begin anew.
    """
    levels, place = examining.detectors.levels, attempt.place
    comes_back = examining.lost_at is not None and abs(place.step - examining.lost_at) <= SAME_PLACE
    if levels is None or healed is None or not (examining.moves or comes_back):
        return False
    if isinstance(healed, Harm) and not healed.now <= said.now + levels.spread:
        return False
    if isinstance(healed, Unasked) and not (comes_back and said.now < math.inf):
        return False
    examining.moves, examining.slightly_harmed = True, 0
    examining.begin_anew()
    return examining.tell_shift(attempt, 1, can_halt=False)


def _healed(
    examining: Examining,
    attempt: Attempt,
    said: Harm,
    canaries: Sequence[Canary],
    root: TrainingState | None,
    stretch: Stretch | None,
    updates: int = healing.UPDATES,
) -> Harm | Unasked | None:
    """What canaries say after a few more updates of a fork; None where it was not finite."""
    levels, settings, tools = examining.detectors.levels, examining.policy.experiments, examining.tools
    if levels is None or settings is None or examining.policy.snapshot.keep == 0 or not examining.possible:
        return Unasked()
    root, held = root or tools.subject.capture(), examining.detectors.rate.factor
    # A stop waits for few updates, and not for many: what is at fault does not hang on when it came.
    stopping = never if updates <= healing.UPDATES else tools.stopping
    like = Setting(max_norm=None if stretch is None else stretch.norm)
    forks = Forks(tools.subject, tools.executor, root, stopping, held, like)
    started = tools.clock.monotonic()
    try:
        with drawn_updates(tools.data, updates, len(attempt.batches)) as coming, forks.undone():
            healed = healing.after_healing(forks, coming, canaries, levels, settings)
    except (ActionError, Stopped, MemoryError, torch.OutOfMemoryError):
        return Unasked()
    if healed is None and forks.raised:
        return Unasked()
    examining.budget.spend(updates)
    healthy = healed is not None and not healed.harmed
    after, found = (None if healed is None else healed.now), "unharmed" if healthy else "harmed"
    why = f"trained for {updates} updates, a fork {'makes' if healthy else 'does not make'} up for it"
    examining.tell(attempt, "fork", updates, started, found, before=said.now, after=after, why=why)
    return healed
