"""A fork: the training goes on for a while from a state of its own, is judged on batches it has not seen, and is gone.

What is drawn for it comes from the cursor and is given back in order, so that the training sees every batch once.
"""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from supervisor.errors import ActionError, text_of
from supervisor.experiments.no_trace import Surroundings, updates_undone
from supervisor.records import Observation
from supervisor.training.data_cursor import DataCursor
from supervisor.training.data_position import DataPosition
from supervisor.training.rng import restore_rng
from supervisor.training.state import Subject, TrainingState
from supervisor.training.tree import clone, comes_back
from supervisor.update import Executor, Place

__all__ = ["Forks", "Setting", "Stopped", "Update", "drawn_updates", "fresh"]

Update = tuple[Any, ...]
"""The batches of one update."""


class Stopped(Exception):
    """A stop was requested while a fork ran; everything is put back."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How a fork makes its updates.

    Attributes:
        lr_scale: learning rates are multiplied by it while the optimizer steps.
        max_norm: gradients are clipped to it, None for not.
    """

    lr_scale: float = 1.0
    max_norm: float | None = None


Change = Callable[[], Setting]
"""Changes the set-up of a fork, whose root is in place, and says how its updates are made."""


def _as_it_is(rate: float | None) -> float:
    return 1.0


@contextlib.contextmanager
def drawn_updates(data: DataPosition, updates: int, accumulate: int) -> Iterator[list[Update]]:
    """The batches of so many of the coming updates; they come again, in the same order, after the block.

    Rows that the data set raises for are left out of them, and answered when the training goes on.

    Raises:
        ActionError: the caller draws the batches himself, or the data give no more of them.
    """
    if not isinstance(data, DataCursor):
        raise ActionError("the guard does not draw the batches, so that it has none for a fork")
    drawn: list[Any] = []
    try:
        try:
            for _ in range(updates * accumulate):
                drawn.append(data.ahead())
        except Exception as error:
            raise ActionError(f"the data gave {len(drawn)} of the batches for a fork: {text_of(error)}") from error
        yield [tuple(drawn[first : first + accumulate]) for first in range(0, len(drawn), accumulate)]
    finally:
        data.put_back(drawn)


@dataclass(slots=True)
class Forks:
    """Runs forks from one root. To be used as a context: afterwards everything is what it was before it.

    The schedule goes on from the root. The `on_gradients` hook is not called, since what it changes outside of the
    training could not be put back.

    Attributes:
        subject: the training objects.
        executor: runs the updates.
        root: the state that every fork begins from.
        stopping: whether the run is to stop; a fork is then abandoned.
        held: what a learning rate is to be multiplied by, where the training refuses one.
        like: by how much the ladder had lowered the rate of the updates that those of the forks are compared with, and
            the largest gradient norm with which these were applied; 0 or None where that is not known. The training may
            clip its gradients by means that no fork can call, as a hook; so a fork is held to what came of it.
        in_place: whether the root is what is in place, so that nothing else has to be kept meanwhile.
        raised: whether anything was raised in the last fork, which then says nothing of its root.
    """

    subject: Subject
    executor: Executor
    root: TrainingState
    stopping: Callable[[], bool]
    held: Callable[[float | None], float] = _as_it_is
    like: Setting = Setting()
    in_place: bool = False
    raised: bool = field(default=False, init=False)
    _graph: bool = field(default=False, init=False)
    _surroundings: Surroundings | None = field(default=None, init=False)

    @contextlib.contextmanager
    def undone(self) -> Iterator[None]:
        """The block in which forks may be run.

        Raises:
            ActionError: the loss may not be called again.
        """
        if self.executor.no_replay is not None:
            raise ActionError(self.executor.no_replay)
        with updates_undone(self.subject, self.root if self.in_place else None) as surroundings:
            self._surroundings = surroundings
            try:
                yield
            finally:
                self._surroundings = None

    def present(self) -> Setting:
        """How the training itself makes its updates; cuts of the ladder, which end, are left out."""
        bounds = [each for each in (self.executor.max_norm, self.like.max_norm) if each]
        return Setting(self.executor.lr_factor * self.like.lr_scale, min(bounds, default=None))

    def score(self, train: Sequence[Update], probe: Sequence[Update], change: Change) -> float:
        """Train a fork and judge it.

        Args:
            train: what it is trained on.
            probe: what it is judged on, and never trained on.
            change: changes its set-up.

        Returns:
            The median loss of the probe batches; infinity where anything was not finite, or was raised.

        Raises:
            Stopped: a stop was requested.
        """
        losses = self.losses(train, probe, change)
        return statistics.median(losses) if losses else math.inf

    def losses(
        self,
        train: Sequence[Update],
        probe: Sequence[Update],
        change: Change,
        draws: Sequence[dict[str, Any]] | None = None,
    ) -> list[float] | None:
        """Train a fork, and give its loss on each of the probe batches; None where anything was not finite, or raised.

        The arguments and what is raised are those of `score`, and `draws`: the generators with which each of the probe
        batches is computed; None: one after the other, from those of the root.
        """
        self.raised = False
        try:
            self._begin()
            setting = change()
            if not all(self._updated(batches, setting) for batches in train):
                return None
            losses = self._judged(probe, draws)
        except Stopped:
            raise
        except Exception:  # noqa: BLE001  (the user's code may raise anything, which speaks against the fork)
            self.raised = True
            return None
        return losses if all(map(math.isfinite, losses)) else None

    def at_root(self, probe: Sequence[Update]) -> float:
        """The median loss of the probe batches before any training; infinity where one is not finite, or raises."""
        return self.score((), probe, Setting)

    def healthy(self, updates: Sequence[Update]) -> list[bool]:
        """For each update, whether loss and gradients are finite at the root itself."""
        found = []
        for batches in updates:
            self._begin()
            found.append(self._is_sound(self._replayed(batches)))
        return found

    def _begin(self) -> None:
        if self._surroundings is None:
            raise RuntimeError("forks run inside `undone` alone")
        self.subject.restore(self.root)
        self._surroundings.put_back()

    def _updated(self, batches: Update, setting: Setting) -> bool:
        seen = self._replayed(batches)
        if not self._is_sound(seen):
            return False
        self.executor.clip(setting.max_norm)
        with self.executor.applying(setting.lr_scale * self.held(seen.lr)):
            self.executor.step_optimizer()
        self.executor.step_schedule(seen.loss)
        return True

    def _replayed(self, batches: Update) -> Observation:
        if self.stopping():
            raise Stopped
        return self.executor.replay(fresh(batches), Place(0, 0, replayed=True))

    def _is_sound(self, seen: Observation) -> bool:
        self.raised |= seen.exception is not None
        if seen.exception is not None or not math.isfinite(seen.loss):
            return False
        # A gradient scaler skips an overflow by itself, and looks for a scale without one.
        return seen.gradient_elements_finite or self.subject.loss_scale is not None

    def _judged(self, probe: Sequence[Update], draws: Sequence[dict[str, Any]] | None) -> list[float]:
        self.subject.drop_gradients()
        # The same noise for every fork, however much of it their training has drawn.
        restore_rng(self.root.rng)
        losses = []
        for number, batches in enumerate(probe):
            losses.append(self._probed(batches, None if draws is None else draws[number]))
        return losses

    def _probed(self, batches: Update, draw: dict[str, Any] | None) -> float:
        if self.stopping():
            raise Stopped
        if not self._graph:
            try:
                return self._probed_once(batches, draw, graph=False)
            except Exception:  # noqa: BLE001  (a loss that differentiates inside raises without a graph)
                self._graph = True
        return self._probed_once(batches, draw, graph=True)

    def _probed_once(self, batches: Update, draw: dict[str, Any] | None, *, graph: bool) -> float:
        if draw is not None:
            restore_rng(draw)
        return self.executor.probe(fresh(batches), graph=graph)


def fresh(batches: Update) -> Update:
    """A copy, since a loss may write into its batch; what cannot be copied for certain is handed on as it is."""
    return tuple(clone(batch) if comes_back(batch) else batch for batch in batches)
