"""When the learning-rate scheduler steps: after each applied update, or after each epoch."""

from __future__ import annotations

from typing import Any, Literal

from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

__all__ = ["Interval", "Schedule"]

Interval = Literal["step", "epoch"]


class Schedule:
    """Steps a scheduler; `ReduceLROnPlateau` is given the loss, or the mean loss of the epoch's applied updates.

    Args:
        scheduler: any `torch.optim.lr_scheduler`, or None.
        interval: `step` or `epoch`.
    """

    def __init__(self, scheduler: LRScheduler | None, interval: Interval) -> None:
        self.scheduler = scheduler
        self.by_epoch = interval == "epoch"
        self._losses = 0.0
        self._count = 0

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
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(metric)
        elif self.scheduler is not None:
            self.scheduler.step()
