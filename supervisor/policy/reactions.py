"""Where a signal or a cause enters the ladder, when that is higher than the lowest rung."""

from __future__ import annotations

import enum

from pydantic import ValidationInfo, field_validator

from supervisor.config.section import Section, conflict
from supervisor.records import ActionName, CauseKind, SignalName

__all__ = ["OBSERVABLE_SIGNALS", "SETUP_SIGNALS", "SPIKES", "Reaction", "Reactions"]

SPIKES = frozenset({SignalName.DIVERGENCE, SignalName.LOSS_SPIKE, SignalName.GRADIENT_SPIKE})
"""The findings about a loss and gradients that are finite, by comparison with earlier updates."""

SETUP_SIGNALS = frozenset({SignalName.NOT_LEARNING, SignalName.DEAD_UNITS, SignalName.INITIAL_SCALE})
"""The findings that the start may be wrong. They say nothing against an update: without a rung of their own they are
observed."""

OBSERVABLE_SIGNALS = SPIKES | {SignalName.SANITIZED_VALUES, SignalName.NOT_LEARNING}
"""The signals of a step whose numbers are all finite: they alone may be logged without acting."""


class Reaction(enum.StrEnum):
    """A rung to start from, by its action, or `observe`, or `retry`."""

    SKIP_BATCH = "skip_batch"
    LOWER_LR = "lower_lr"
    RELOAD_CHECKPOINT = "reload_checkpoint"
    TRY_CURES = "try_cures"
    REINITIALIZE = "reinitialize"
    HALT = "halt"
    OBSERVE = "observe"
    RETRY = "retry"

    @property
    def action(self) -> ActionName | None:
        """The action of the rung to start from; None for `observe` and `retry`."""
        return None if self in (Reaction.OBSERVE, Reaction.RETRY) else ActionName(self.value)


class Reactions(Section):
    """For each signal, and for each kind of cause that a diagnosis finds, the rung it enters at.

    The highest of them counts. null: the lowest rung. What is not written keeps its default.
    """

    step_exception: Reaction | None = None
    """The step raised."""
    nonfinite_optimizer_state: Reaction | None = Reaction.RELOAD_CHECKPOINT
    """An optimizer tensor holds a NaN or an infinity: skipping batches cannot fix it."""
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
    not_learning: Reaction | None = Reaction.TRY_CURES
    """After its first updates the model does worse than one whose output is all zeros. `observe`: log only. Without a
    rung to start from (null, or a ladder that lacks it) it is not looked for."""

    exception: Reaction | None = None
    """Diagnosed: the step raised."""
    poisoned_optimizer_state: Reaction | None = Reaction.RELOAD_CHECKPOINT
    """Diagnosed: an optimizer tensor was not finite before the step."""
    poisoned_parameter: Reaction | None = Reaction.RELOAD_CHECKPOINT
    """Diagnosed: a parameter or buffer was not finite before the step."""
    hidden_state: Reaction | None = None
    """Diagnosed: a plain attribute of a module was not finite; no state holds it, so that none puts it back."""
    bad_input: Reaction | None = None
    """Diagnosed: the batch, or a few samples of it, are at fault."""
    not_reproducible: Reaction | None = None
    """Diagnosed: the same step, run again, is healthy. `retry`: where the batch would be skipped, it comes again
    instead, once an incident; its step is used up."""
    nonfinite_activation: Reaction | None = None
    """Diagnosed: a module makes bad values out of good ones."""
    loss_function: Reaction | None = None
    """Diagnosed: the loss function does."""
    backward_only: Reaction | None = None
    """Diagnosed: only gradients are bad."""
    gradient_explosion: Reaction | None = None
    """Diagnosed: everything is finite, but too large."""

    @field_validator("*", mode="after")
    @classmethod
    def _observe_finite_steps_only(cls, value: Reaction | None, info: ValidationInfo) -> Reaction | None:
        if value is Reaction.OBSERVE and info.field_name not in OBSERVABLE_SIGNALS:
            names = ", ".join(signal.value for signal in SignalName if signal in OBSERVABLE_SIGNALS)
            what = f"{info.field_name} cannot be merely observed: it must not reach the weights"
            raise conflict(what, f"write the action of a rung (`observe` is for {names})")
        if value is Reaction.RETRY and info.field_name != CauseKind.NOT_REPRODUCIBLE:
            fix = f"write the action of a rung (`retry` is for {CauseKind.NOT_REPRODUCIBLE})"
            raise conflict(f"{info.field_name} would only come again", fix)
        return value

    def of(self, found: SignalName | CauseKind) -> Reaction | None:
        """What the policy says about a signal or a cause; None: it enters at the lowest rung.

        A signal without a key of its own (`odd_update`, most of `SETUP_SIGNALS`) is never acted on.
        """
        reaction: Reaction | None = getattr(self, found.value, Reaction.OBSERVE)
        return reaction
