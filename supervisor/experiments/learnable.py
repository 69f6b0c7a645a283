"""Whether odd batches can be learnt, asked of a fork: then the data have changed, and are not bad."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from supervisor.experiments.canaries import Canary
from supervisor.experiments.fork import Forks, Update
from supervisor.experiments.zero_output import zero_output_losses
from supervisor.signals.odd import LossLevels

__all__ = ["Learnt", "can_be_learnt"]

UNSEEN_SHARE = 3
"""One in so many odd batches is kept from the fork's training, to judge it by."""

PASSES = 3
"""How often the fork sees each of the others."""

CLEARLY = 0.8
"""The share of the loss of zeros below which the fork has to end."""

FORGOTTEN = 0.15
"""How much of the way back to a model that says nothing the loss of known batches may go."""

HALVED = 0.5
"""The same of the loss at the root, where that of zeros says nothing."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a fork came to.

    Attributes:
        learnt: whether it learnt the odd batches and kept what was known before.
        loss: its median loss on odd batches that it had not seen.
        bar: what that had to be below.
        known: its median loss on the canaries.
        known_bar: what that must not be above.
    """

    learnt: bool
    loss: float
    bar: float
    known: float
    known_bar: float

    def __str__(self) -> str:
        trained = (
            f"trained on them and on known batches, a fork has a median loss of {self.loss:.4g} on others like them"
        )
        return f"{trained}, and of {self.known:.4g} on the known ones"


def can_be_learnt(
    forks: Forks,
    odd: Sequence[Update],
    canaries: Sequence[Canary],
    levels: LossLevels,
) -> Learnt | None:
    """Train a fork on odd batches and canaries in turn; judge it by odd batches it has not seen, and by the canaries.

    Batches that contradict what was learnt (wrong labels) cannot be learnt beside it. A new kind can, although learning
    it alone would push out the old one.

    Args:
        forks: whose root is the state before the first odd update; to be used inside its block.
        odd: the updates that were left out.
        canaries: the last healthy ones.
        levels: what the losses were before.

    Returns:
        What came of it; None where there are too few batches to tell.
    """
    unseen = list(odd[::UNSEEN_SHARE])
    seen = [each for index, each in enumerate(odd) if index % UNSEEN_SHARE]
    if not seen or not canaries:
        return None
    kept = [canary.batches for canary in canaries]
    train = [each for index in range(PASSES * len(seen)) for each in (seen[index % len(seen)], kept[index % len(kept)])]
    losses = forks.losses(train, [*unseen, *kept], forks.present)
    if losses is None:
        return None
    loss = statistics.median(losses[: len(unseen)])
    zeros = zero_output_losses(forks.subject, forks.executor, unseen)
    bar = HALVED * forks.at_root(unseen) if zeros is None else CLEARLY * statistics.median(zeros)
    was, known = statistics.median(canary.loss for canary in canaries), statistics.median(losses[len(unseen) :])
    silent = None if zeros is None else zero_output_losses(forks.subject, forks.executor, kept)
    # Where that of zeros says nothing, the loss with which the run began takes its place.
    nothing_known = was + levels.learnt if silent is None else statistics.median(silent)
    known_bar = was + FORGOTTEN * max(0.0, nothing_known - was)
    return Learnt(loss < bar and known <= known_bar, loss, bar, known, known_bar)
