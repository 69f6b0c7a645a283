"""Where a signal enters the ladder, when that is higher than the lowest rung."""

from __future__ import annotations

import enum

from pydantic import ValidationInfo, field_validator

from supervisor.policy.base import Conflict, Section, conflict_error
from supervisor.records import ActionName, SignalName

__all__ = ["OBSERVABLE_SIGNALS", "Reaction", "Reactions"]

OBSERVABLE_SIGNALS = frozenset(
    {SignalName.LOSS_SPIKE, SignalName.GRADIENT_SPIKE, SignalName.DIVERGENCE, SignalName.SANITIZED_VALUES}
)
"""The signals of a step whose numbers are all finite: they alone may be logged without acting."""


class Reaction(enum.StrEnum):
    """A rung to start from, by its action, or `observe`."""

    SKIP_BATCH = "skip_batch"
    LOWER_LR = "lower_lr"
    RELOAD_CHECKPOINT = "reload_checkpoint"
    REINITIALIZE = "reinitialize"
    HALT = "halt"
    OBSERVE = "observe"

    @property
    def action(self) -> ActionName | None:
        """The action of the rung to start from; None for `observe`."""
        return None if self is Reaction.OBSERVE else ActionName(self.value)


class Reactions(Section):
    """For each signal the rung it enters at. null: the lowest rung. What is not written keeps its default."""

    step_exception: Reaction | None = None
    """The step raised."""
    nonfinite_optimizer_state: Reaction | None = Reaction.RELOAD_CHECKPOINT
    """An optimizer tensor holds a NaN or an infinity: skipping batches cannot mend it."""
    nonfinite_parameter: Reaction | None = Reaction.RELOAD_CHECKPOINT
    """A parameter or buffer holds one: likewise."""
    nonfinite_buffer: Reaction | None = None
    """The forward pass put one into a buffer; it is put back with the discarded update."""
    nonfinite_loss: Reaction | None = None
    """The loss is NaN or infinite."""
    nonfinite_gradient: Reaction | None = None
    """A gradient element is NaN or infinite."""
    gradient_overflow: Reaction | None = None
    """Every gradient element is finite, but they are too large to square."""
    divergence: Reaction | None = Reaction.RELOAD_CHECKPOINT
    """A spike that goes on with other batches: the state is damaged, not the batch. May be `observe`."""
    loss_spike: Reaction | None = None
    """The loss is far above its recent values. May be `observe`."""
    gradient_spike: Reaction | None = None
    """The gradient norm is far above its recent values. May be `observe`."""
    sanitized_values: Reaction | None = Reaction.OBSERVE
    """The model replaced non-finite values by itself. May be `observe`."""

    @field_validator("*", mode="after")
    @classmethod
    def _observe_finite_steps_only(cls, value: Reaction | None, info: ValidationInfo) -> Reaction | None:
        if value is Reaction.OBSERVE and info.field_name not in OBSERVABLE_SIGNALS:
            names = ", ".join(signal.value for signal in SignalName if signal in OBSERVABLE_SIGNALS)
            raise conflict_error(
                Conflict(
                    f"{info.field_name} cannot be merely observed: it must not reach the weights",
                    f"write the action of a rung (`observe` is for {names})",
                )
            )
        return value

    def of(self, signal: SignalName) -> Reaction | None:
        """What the policy says about a signal; None: it enters at the lowest rung."""
        reaction: Reaction | None = getattr(self, signal.value)
        return reaction
