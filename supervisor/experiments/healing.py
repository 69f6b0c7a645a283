"""Whether training makes up for a harm by itself, asked of a fork: then nothing is lost by going on."""

from __future__ import annotations

from collections.abc import Sequence

from supervisor.experiments.canaries import Canary
from supervisor.experiments.fork import Forks, Update
from supervisor.experiments.harm import Harm, harm
from supervisor.policy import Experiments
from supervisor.signals.odd import LossLevels

__all__ = ["UPDATES", "after_healing"]

UPDATES = 8
"""For how many updates the fork is trained. A run that has learnt nearly all falls out of its minimum now and then, and
is back within a few of them; a damaged weight or a rate that jumped is not."""


def after_healing(
    forks: Forks, coming: Sequence[Update], canaries: Sequence[Canary], levels: LossLevels, settings: Experiments
) -> Harm | None:
    """What canaries say of a fork that was trained on the coming batches.

    Args:
        forks: whose root is the harmed state; to be used inside its block.
        coming: what it is trained on.
        canaries: by which it is judged.
        levels: what is usual.
        settings: what counts as harm.

    Returns:
        None where anything was not finite, or was raised.
    """
    draws = [canary.rng for canary in canaries]
    losses = forks.losses(coming, [canary.batches for canary in canaries], forks.present, draws)
    return None if losses is None else harm([canary.loss for canary in canaries], losses, levels, settings)
