"""The names of what is found, why, what is done about it and how it ended, as logs and policies write them."""

from __future__ import annotations

import enum

__all__ = ["ActionName", "CauseKind", "Outcome", "SignalName"]


class SignalName(enum.StrEnum):
    """What a detector can find, furthest upstream first: that is the order in which they are named."""

    STEP_EXCEPTION = "step_exception"
    """The step raised."""
    NONFINITE_OPTIMIZER_STATE = "nonfinite_optimizer_state"
    """A tensor of the optimizer's state holds a NaN or an infinity."""
    NONFINITE_PARAMETER = "nonfinite_parameter"
    """A parameter, a buffer or a registered tensor holds one, and no batch at hand put it there."""
    NONFINITE_BUFFER = "nonfinite_buffer"
    """The forward pass put one into a buffer, although loss and gradients are finite."""
    NONFINITE_LOSS = "nonfinite_loss"
    """The loss is NaN or infinite."""
    NONFINITE_GRADIENT = "nonfinite_gradient"
    """An element of a gradient is NaN or infinite."""
    GRADIENT_OVERFLOW = "gradient_overflow"
    """Every element of the gradients is finite, and they are too large to square."""
    DIVERGENCE = "divergence"
    """The state is damaged: what is out of the ordinary is so whatever the batch."""
    LOSS_SPIKE = "loss_spike"
    """The loss is far above its recent values."""
    GRADIENT_SPIKE = "gradient_spike"
    """The gradient norm is far above its recent values."""
    SANITIZED_VALUES = "sanitized_values"
    """The model replaced values that are not finite by itself."""
    ODD_UPDATE = "odd_update"
    """A finite update is out of the ordinary: a suspicion, and an experiment decides."""
    NOT_LEARNING = "not_learning"
    """After its first updates the model does worse than one whose output is all zeros."""
    DEAD_UNITS = "dead_units"
    """Most of a layer's ReLU outputs are zero whatever comes in."""
    INITIAL_SCALE = "initial_scale"
    """Weights were drawn at a scale with which few models train."""


class CauseKind(enum.StrEnum):
    """Why an update went wrong; where several apply, the first in this order is the cause."""

    EXCEPTION = "exception"
    POISONED_OPTIMIZER_STATE = "poisoned_optimizer_state"
    POISONED_PARAMETER = "poisoned_parameter"
    HIDDEN_STATE = "hidden_state"
    BAD_INPUT = "bad_input"
    NOT_REPRODUCIBLE = "not_reproducible"
    NONFINITE_ACTIVATION = "nonfinite_activation"
    LOSS_FUNCTION = "loss_function"
    BACKWARD_ONLY = "backward_only"
    GRADIENT_EXPLOSION = "gradient_explosion"


class ActionName(enum.StrEnum):
    """The recovery actions a rung of the ladder can name."""

    SKIP_BATCH = "skip_batch"
    """Go on without the batch."""
    LOWER_LR = "lower_lr"
    """Go on without the batch, at a lower learning rate for a while."""
    RELOAD_CHECKPOINT = "reload_checkpoint"
    """Go back to the newest good state."""
    TRY_CURES = "try_cures"
    """Try changes of the set-up on forks, and keep the one that helps."""
    REINITIALIZE = "reinitialize"
    """Go back to the newest good state, and draw the weights of some modules afresh."""
    HALT = "halt"
    """End the run, with evidence."""


class Outcome(enum.StrEnum):
    """How an incident ended."""

    OPEN = "open"
    RECOVERED = "recovered"
    HALTED = "halted"
