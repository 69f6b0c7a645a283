"""What was measured step by step, as arrays: one entry for each `step` event, those that did not last included."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from operator import itemgetter

from supervisor.events import schema
from supervisor.events.schema import Event

__all__ = ["MEASURED", "MOST_STEPS", "Curves"]

MEASURED = ("loss", "grad_norm", "lr", "lr_scale", "step_seconds")
"""The numbers of a `step` event that are drawn."""


MOST_STEPS = 2**53
"""Up to which step a chart counts; a damaged log alone has a larger one."""


class Curves:
    """Takes in the events of a run, and keeps the numbers of its `step` events.

    The steps that stand only grow. What a reload or a resume went back over is kept too, and marked.

    Attributes:
        step: the step of each entry.
        values: its numbers, by name; not finite where the log says so.
        scale_changes: (step, scale) wherever an event says that the learning-rate scale is another from here on.
    """

    def __init__(self) -> None:
        self.step = array("q")
        self.values = {name: array("d") for name in MEASURED}
        self.scale_changes: list[tuple[int, float]] = []
        self._stands = bytearray()
        self._standing = array("q")

    def __len__(self) -> int:
        return len(self.step)

    def tell(self, event: Event, *, void: bool) -> None:
        """Take in the next event; of several ranks the first one speaks for all."""
        if event.rank:
            return
        match event:
            case schema.StepEvent(step=int(step)) if step <= MOST_STEPS:
                self._add(step, event, void=void)
            case schema.RunResumedEvent() if not void:
                self._go_back(event.checkpoint_step)
            case schema.DecisionEvent(step=int(step)) if not void and event.evidence is not None:
                # Accepted on trial, and undone since.
                self._go_back(step - event.evidence.gone_back_over)
            case schema.ActionAppliedEvent() if not void:
                if event.restored_step is not None:
                    self._go_back(event.restored_step)
                if event.lr_scale is not None and event.step is not None:
                    self.scale_changes.append((event.restored_step or event.step, event.lr_scale))
            case schema.LrRestoredEvent(step=int(step)) if not void:
                self.scale_changes.append((step, event.lr_scale))

    def standing(self) -> array[int]:
        """Which entries stand, in order of their steps."""
        return array("q", self._standing)

    def gone_back_over(self) -> Iterator[range]:
        """The stretches of entries that were gone back over, each in order of its steps."""
        start: int | None = None
        for index, stands in enumerate(self._stands):
            broken = start is not None and index > start and self.step[index] <= self.step[index - 1]
            if start is not None and (stands or broken):
                yield range(start, index)
                start = None
            if not stands and start is None:
                start = index
        if start is not None:
            yield range(start, len(self._stands))

    def place(self, step: int) -> int | None:
        """Which of the standing entries is of this step, or the last before it; the first where there is none before.

        It is counted in their order; None where no entry stands.
        """
        low, high = 0, len(self._standing)
        while low < high:
            middle = (low + high) // 2
            if self.step[self._standing[middle]] <= step:
                low = middle + 1
            else:
                high = middle
        return max(0, low - 1) if self._standing else None

    def scale(self) -> list[tuple[int, float]]:
        """The learning-rate scale as it was: (step, scale) wherever it changed, and at both ends."""
        told = [(self.step[each], self.values["lr_scale"][each]) for each in self._standing]
        told = sorted([*told, *self.scale_changes], key=itemgetter(0))
        changes = [each for index, each in enumerate(told) if index == 0 or each[1] != told[index - 1][1]]
        return changes + told[-1:] if told and changes[-1] != told[-1] else changes

    def _add(self, step: int, event: schema.StepEvent, *, void: bool) -> None:
        if not void:
            self._go_back(step)
            self._standing.append(len(self.step))
        self.step.append(step)
        for name, values in self.values.items():
            values.append(getattr(event, name))
        self._stands.append(not void)

    def _go_back(self, step: int) -> None:
        while self._standing and self.step[self._standing[-1]] >= step:
            self._stands[self._standing.pop()] = 0
        while self.scale_changes and self.scale_changes[-1][0] > step:
            self.scale_changes.pop()
