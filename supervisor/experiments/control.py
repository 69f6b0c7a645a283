"""The control of a trial: whether healthy batches, applied in the place of the suspected ones, do as much harm."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from supervisor.errors import ActionError, text_of
from supervisor.experiments.canaries import Canary
from supervisor.experiments.examining import Examining, never
from supervisor.experiments.fork import Forks, Setting
from supervisor.experiments.harm import Harm, harm
from supervisor.experiments.stretch import Stretch
from supervisor.update import Attempt

__all__ = ["would_harm_too"]

PASSES = 2
"""How often a fork sees a canary at most."""

SHARE = 0.3
"""The share of the harm of the suspected batches that healthy ones do at least where those are not to blame."""


def would_harm_too(
    examining: Examining, attempt: Attempt, stretch: Stretch, before: Harm, after: Harm, suspected: int
) -> bool:
    """Train forks of the pin on canaries, and see what as many updates as the suspected ones would do to others.

    Batches that were healthy a moment ago do no harm. Where they do, it is not the batch: the rate is wrong, or the
    optimizer's moments are, or the state is one from which every step leads astray. Each canary is judged by a fork
    that was trained on every second one of the others, since one that it is trained on would hide the harm. Few are
    kept, and a fork that sees them again and again learns them by heart, which is harm of its own: of a long stretch
    the share of it that as many updates make up is compared.

    Args:
        examining: tries canaries.
        attempt: the present update.
        stretch: which it belongs to; its pin is in place.
        before: what its canaries say of the pin.
        after: what they say of the state after the stretch.
        suspected: how many updates have led there.

    Returns:
        Whether they did. False where that cannot be found out.
    """
    levels, settings, tools = examining.detectors.levels, examining.policy.experiments, examining.tools
    canaries = stretch.canaries
    if stretch.pin is None or levels is None or settings is None or not canaries or not examining.possible:
        return False
    halves = _halves(canaries)
    updates = min(suspected, PASSES * min(len(train) for train, _ in halves))
    forks = Forks(
        tools.subject,
        tools.executor,
        stretch.pin,
        # A stop waits for these few updates: whom to blame does not hang on when it came.
        never,
        examining.detectors.rate.factor,
        Setting(attempt.cut, stretch.norm),
        in_place=True,
    )
    started = tools.clock.monotonic()
    try:
        with forks.undone():
            before_and_now = [each for half in halves for each in _judged(forks, updates, *half)]
    except (ActionError, MemoryError, torch.OutOfMemoryError) as error:
        examining.tell(attempt, "fork", updates, started, "unknown", why=text_of(error))
        return False
    said = harm([was for was, _ in before_and_now], [now for _, now in before_and_now], levels, settings)
    examining.budget.spend(updates * len(halves))
    enough = SHARE * (after.rise - before.rise) * updates / suspected
    found = said.risen and (not math.isfinite(said.now) or said.rise - before.rise >= enough > 0)
    why = f"{updates} updates of healthy batches from the same state {'do' if found else 'do not do'} such harm too"
    verdict = "harmed" if found else "unharmed"
    examining.tell(attempt, "fork", updates, started, verdict, before=said.before, after=said.now, why=why)
    return found


Half = Sequence[Canary]


def _halves(canaries: Half) -> list[tuple[Half, Half]]:
    """What a fork is trained on, and what it is judged by, each canary once; a single one does for both."""
    even, odd = canaries[::2], canaries[1::2]
    return [(even, odd), (odd, even)] if odd else [(even, even)]


def _judged(forks: Forks, updates: int, train: Half, judged: Half) -> list[tuple[float, float]]:
    """For each canary judged, the loss that it had and the one after so many updates of the others.

    Raises:
        ActionError: something was raised.
    """
    coming = [train[number % len(train)].batches for number in range(updates)]
    losses = forks.losses(coming, [each.batches for each in judged], forks.present, [each.rng for each in judged])
    if forks.raised:
        raise ActionError("a fork raised, and says nothing")
    return [(each.loss, now) for each, now in zip(judged, losses or [math.nan] * len(judged), strict=True)]
