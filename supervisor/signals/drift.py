"""A slow climb of the loss, in which each value alone is ordinary."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

from supervisor.policy import DriftDetection
from supervisor.records import Observation, Signal, SignalName
from supervisor.signals.baseline import MAD_TO_SIGMA, median_of_sorted
from supervisor.signals.restart import RateWatch

__all__ = ["Block", "DriftDetector"]


class Block(NamedTuple):
    """Some healthy losses in a row: their median, and 1.4826 times the median absolute deviation from it."""

    median: float
    spread: float

    @classmethod
    def of(cls, losses: list[float]) -> Block:
        """The block of one or more finite losses."""
        middle = median_of_sorted(sorted(losses))
        return cls(middle, MAD_TO_SIGMA * median_of_sorted(sorted([abs(loss - middle) for loss in losses])))


class DriftDetector:
    """Flags a loss whose medians over blocks of updates have climbed several times in a row, and far.

    A new kind of data lifts the loss once; damage that goes on lifts it block by block. `rises` medians in a row must
    each lie above the one before, and the last must be `factor` times the first of them and `threshold` of its spreads
    above it. Where the losses reach below zero, the last must lie above the first by `factor - 1` times the largest
    magnitude instead. It looks once a block; after a finding it begins anew, as it does after a warm restart of the
    learning rate.
    """

    def __init__(self, policy: DriftDetection) -> None:
        self._policy = policy
        self._losses: list[float] = []
        self._blocks: deque[Block] = deque(maxlen=policy.rises)
        self._rate = RateWatch()

    def inspect(self, observation: Observation) -> Signal | None:
        """`divergence` with the median of the newest block and of the block that the climb began from."""
        losses = self._losses
        if len(losses) < self._policy.block_updates - 1 or len(self._blocks) < self._policy.rises:
            return None
        if observation.replayed or not math.isfinite(observation.loss):
            return None
        start, end = self._blocks[0], Block.of([*losses, observation.loss])
        if not self._has_climbed([*self._blocks, end]):
            return None
        return Signal(
            SignalName.DIVERGENCE,
            {
                "loss": observation.loss,
                "median": end.median,
                "climbed_from": start.median,
                "updates": self._policy.block_updates * self._policy.rises,
            },
        )

    def accept(self, observation: Observation) -> None:
        """Take a healthy loss into the block that is being filled."""
        if not math.isfinite(observation.loss):
            return
        if self._rate.restarted(observation.lr):
            self._empty()
        self._losses.append(observation.loss)
        if len(self._losses) < self._policy.block_updates:
            return
        end = Block.of(self._losses)
        if self._has_climbed([*self._blocks, end]):
            # A climb that the policy only observes is reported once, not at every block from here on.
            self._blocks.clear()
        self._blocks.append(end)
        self._losses = []

    def flagged(self, observation: Observation) -> None:
        """A climb that was found is over, whatever is done about it; other flagged losses change nothing."""
        if self.inspect(observation) is not None:
            self._empty()

    def restored(self) -> None:
        """Begin anew: the climb belonged to the state that was left."""
        self._empty()
        self._rate.restored()

    def forget(self) -> None:
        """Begin anew, and forget the learning rates too."""
        self._empty()
        self._rate = RateWatch()

    def state_dict(self) -> dict[str, Any]:
        """The losses of the block that is being filled, and the blocks before it."""
        return {
            "losses": list(self._losses),
            "blocks": [list(block) for block in self._blocks],
            "rate": asdict(self._rate),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave; a block that is longer than the policy's begins anew."""
        losses = state["losses"]
        self._losses = list(losses) if len(losses) < self._policy.block_updates else []
        self._blocks = deque((Block(*block) for block in state["blocks"]), maxlen=self._policy.rises)
        self._rate = RateWatch(**state["rate"])

    def _empty(self) -> None:
        self._losses = []
        self._blocks.clear()

    def _has_climbed(self, blocks: list[Block]) -> bool:
        if len(blocks) <= self._policy.rises:
            return False
        medians = [block.median for block in blocks]
        if any(after <= before for before, after in itertools.pairwise(medians)):
            return False
        start, end = blocks[0], blocks[-1]
        scale = start.median if start.median > 0 else max(map(abs, medians))
        least_rise = max((self._policy.factor - 1) * scale, self._policy.threshold * start.spread)
        return end.median - start.median > least_rise
