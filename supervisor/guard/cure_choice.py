"""Which of the cures that were tried is taken: the first look sorts out, and a longer one decides between the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence

from supervisor.experiments.choice import KEEP, as_good, chosen_cure
from supervisor.guard.cure_trials import Trial
from supervisor.policy import TryCuresRung

__all__ = ["chosen_trial", "to_look_at_longer"]

AT_MOST = 4
"""How many are looked at longer."""


def to_look_at_longer(done: Sequence[Trial], rung: TryCuresRung) -> tuple[Trial, ...]:
    """Those between which a few updates do not decide; none where no cure is chosen, or where one is far better."""
    close = _close(done, rung)
    if _first(done, rung, close) is None or len(close) < 2:
        return ()
    best = sorted(close, key=lambda trial: trial.score)[:AT_MOST]
    return tuple(trial for trial in close if trial in best)


def chosen_trial(done: Sequence[Trial], rung: TryCuresRung) -> Trial | None:
    """The cure that is taken, None where changing nothing is as good."""
    longer = {f"{number}": trial.longer for number, trial in enumerate(done) if trial.longer is not None}
    decided = as_good(longer, tolerance=rung.tolerance)
    return done[int(decided[0])] if decided else _first(done, rung, _close(done, rung))


def _first(done: Sequence[Trial], rung: TryCuresRung, close: Sequence[Trial]) -> Trial | None:
    by_name = _by_name(done)
    names = {trial: name for name, trial in by_name.items()}
    scores = {name: trial.score for name, trial in by_name.items()}
    chosen = chosen_cure(scores, improve=rung.improve, close=[names[trial] for trial in close])
    return None if chosen is None else by_name[chosen]


def _close(done: Sequence[Trial], rung: TryCuresRung) -> tuple[Trial, ...]:
    by_name = _by_name(done)
    scores = {
        name: trial.score if trial.cure is None or trial.leads_on(rung.tolerance) else math.inf
        for name, trial in by_name.items()
    }
    best = by_name[min(scores, key=lambda name: scores[name])]
    # A start that is worse than saying nothing was not learnt from: it would excuse anything.
    start = best.start if best.zeros is None else min(best.start, best.zeros)
    return tuple(by_name[name] for name in as_good(scores, tolerance=rung.tolerance, start=start))


def _by_name(done: Sequence[Trial]) -> dict[str, Trial]:
    return {KEEP if trial.cure is None else f"{number}": trial for number, trial in enumerate(done)}
