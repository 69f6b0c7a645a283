"""What an action is given, what it says it did, and the action that does nothing beyond the discarded update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import nn

from supervisor.policy import DataAfterReload, TryCuresRung
from supervisor.training.optimizers import AnyOptimizer

__all__ = ["Action", "Context", "Effect", "Restored"]


@dataclass(frozen=True, slots=True)
class Restored:
    """A good state that was put back.

    Attributes:
        step: its schedule position.
        source: where it was held.
        replayed_batches: batches that come again after it.
    """

    step: int
    source: Literal["memory", "disk"]
    replayed_batches: int = 0


@dataclass(frozen=True, slots=True)
class Effect:
    """What an action did beyond dropping the batch.

    Attributes:
        restored: the good state it went back to, None when it did not go back.
        modules: qualified names of the modules it redrew.
        closes: it found nothing to be done, so that the incident is over.
    """

    restored: Restored | None = None
    modules: tuple[str, ...] = ()
    closes: bool = False


class Context(Protocol):
    """The guard, as the actions see it."""

    @property
    def model(self) -> nn.Module:
        """The model under supervision."""

    @property
    def optimizer(self) -> AnyOptimizer:
        """Its optimizer."""

    @property
    def any_good_state(self) -> bool:
        """Whether there is a good state to go back to."""

    @property
    def data_can_go_back(self) -> bool:
        """Whether earlier batches can be had again."""

    @property
    def blamed_module(self) -> str | None:
        """Qualified name of the module that the diagnosis of the open incident blames, None where it blames none."""

    def restore_good_state(self, data: DataAfterReload) -> Restored:
        """Put the newest good state back.

        Raises:
            ActionError: none could be restored.
        """

    def no_cures(self, rung: TryCuresRung) -> str | None:
        """Why no cures of the set-up can be tried, None where they can."""

    def try_cures(self, rung: TryCuresRung) -> Effect:
        """Try them on forks, and put the one in force that helps.

        Raises:
            ActionError: none does, or they could not be tried.
        """

    def next_draw_seed(self) -> int:
        """A seed for the guard's own draws, a new one each time."""

    def reset_by_trainer(self, name: str, module: nn.Module, generator: torch.Generator) -> bool:
        """Have the trainer redraw a module by its own rule; False where it has none for it."""


class Action:
    """Carries a decision out. The flagged update is discarded before any action runs, and this one does no more.

    That is all of `skip_batch`. It is also all of `lower_lr`: the cut is part of the engine's decision, where it
    outlives reloads and resumes, and the guard applies it for the duration of each `optimizer.step`
    (`supervisor.training.learning_rate`).
    """

    def unavailable(self, context: Context) -> str | None:
        """Why the action cannot act now, None when it can."""
        return None

    def undoes_update(self) -> bool:
        """Whether it leaves a known good state even when the flagged update could not be discarded."""
        return False

    def apply(self, context: Context) -> Effect:
        """Do it.

        Raises:
            ActionError: it could not be done; the engine then decides again.
        """
        return Effect()
