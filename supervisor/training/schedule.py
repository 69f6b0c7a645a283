"""When the learning-rate scheduler steps: after each applied update, or after each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from supervisor.signals.silence import Stepping
from supervisor.training.data_position import DataPosition

__all__ = ["Interval", "Schedule", "SchedulerList", "as_one"]

Interval = Literal["step", "epoch"]


class SchedulerList:
    """Schedulers taken for one: several, as several optimizers need them, or a single one.

    Args:
        schedulers: stepped in this order.
    """

    def __init__(self, schedulers: Sequence[LRScheduler]) -> None:
        self.schedulers = tuple(schedulers)

    def step(self, metric: float) -> None:
        """One step of each; those that follow a metric are given it."""
        for each in self.schedulers:
            if isinstance(each, ReduceLROnPlateau):
                each.step(metric)
            else:
                each.step()

    def state_dict(self) -> dict[str, Any]:
        """The state of each, by its place."""
        return {str(place): each.state_dict() for place, each in enumerate(self.schedulers)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave.

        A parameter group that the state does not know was added since: its base rate stays.
        """
        for place, each in enumerate(self.schedulers):
            rates = list(getattr(each, "base_lrs", ()))
            each.load_state_dict(state[str(place)])
            if len(rates) > len(getattr(each, "base_lrs", rates)):
                each.base_lrs.extend(rates[len(each.base_lrs) :])


def as_one(scheduler: LRScheduler | Sequence[LRScheduler] | None) -> SchedulerList | None:
    """What the guard steps; None where there is no scheduler."""
    if scheduler is None:
        return None
    return SchedulerList(scheduler if isinstance(scheduler, Sequence) else (scheduler,))


class Schedule:
    """Steps a scheduler; `ReduceLROnPlateau` is given the loss, or the mean loss of the epoch's applied updates.

    Args:
        scheduler: any `torch.optim.lr_scheduler`, several in a list, or None.
        interval: `step` or `epoch`.
    """

    def __init__(self, scheduler: LRScheduler | Sequence[LRScheduler] | None, interval: Interval) -> None:
        self.scheduler = as_one(scheduler)
        self.by_epoch = interval == "epoch"
        self._losses = 0.0
        self._count = 0
        self._epoch = 0

    @property
    def stepping(self) -> Stepping | None:
        """How the rate is chosen after every update; None where nothing chooses it then."""
        if self.scheduler is None or self.by_epoch:
            return None
        by_loss = all(isinstance(each, ReduceLROnPlateau) for each in self.scheduler.schedulers)
        return "by_loss" if by_loss else "by_step"

    def begin_at(self, epoch: int) -> None:
        """The data stand in this epoch, as a run begins or after it went back to an earlier state."""
        self._epoch = epoch

    def follow(self, data: DataPosition, *, update_ended: bool = False) -> None:
        """Step for every epoch that has ended since; an epoch without an applied update does not count.

        Args:
            data: where the data stand.
            update_ended: look whether the batch of the update that has just ended was the last of its epoch, before the
                next one is drawn.
        """
        if update_ended and self.by_epoch:
            data.ended_epoch()
        while self._epoch < data.epoch:
            self.after_epoch()
            self._epoch += 1

    def after_update(self, loss: float) -> None:
        """Note an applied update, and step where the interval is a step."""
        if self.scheduler is None:
            return
        if not self.by_epoch:
            self._step(loss)
            return
        self._losses += loss
        self._count += 1

    def after_epoch(self) -> None:
        """Step where the interval is an epoch; an epoch without an applied update does not count."""
        if self.by_epoch and self._count:
            self._step(self._losses / self._count)
            self._losses, self._count = 0.0, 0

    def state_dict(self) -> dict[str, Any]:
        """The losses of the epoch in progress."""
        return {"losses": self._losses, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self._losses, self._count = float(state["losses"]), int(state["count"])

    def _step(self, metric: float) -> None:
        if self.scheduler is not None:
            self.scheduler.step(metric)
