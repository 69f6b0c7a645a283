"""The fault script: what goes wrong, when, and what a supervisor should make of it."""

from __future__ import annotations

import enum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from supervisor.config.section import FormatVersion, Seconds, Section
from supervisor.faults.schedule import Scheduled, Spanning

Glob = Annotated[str, Field(strict=True, min_length=1, max_length=500)]
Factor = Annotated[float, Field(strict=True, gt=0, le=1e30, allow_inf_nan=False)]
Names = tuple[str, ...]

_SPIKES: Names = ("loss_spike", "gradient_spike", "divergence")
_NUMERIC: Names = ("nonfinite_parameter", "nonfinite_loss", "nonfinite_gradient", "gradient_overflow", *_SPIKES)
_DAMAGED_STATE: Names = (
    "poisoned_parameter",
    "poisoned_optimizer_state",
    "nonfinite_activation",
    "loss_function",
    "backward_only",
    "gradient_explosion",
)


class Expected(Section):
    """What a supervisor should find of a fault.

    Attributes:
        expected_signals: names of the findings that count as its detection: signals, `worker_stalled`,
            `worker_exited`, `checkpoint_rejected`, or `warning: ` and the first words of the warning.
        expected_causes: kinds of `cause` that count as the right diagnosis; empty where nothing is diagnosed.
        lasting: it stays after its step, so that a later one may find it.
    """

    noun = "fault"
    expected_signals: ClassVar[Names] = ()
    expected_causes: ClassVar[Names] = ()
    lasting: ClassVar[bool] = False


class BatchFault(Spanning, Expected):
    """A fault in the values of some batches: the same batch is bad whenever it comes again."""

    samples: Annotated[int, Field(strict=True, ge=1, le=10**9)] = 1
    """How many samples of each batch, the first ones."""
    expected_signals: ClassVar[Names] = ("nonfinite_loss", "nonfinite_gradient")
    expected_causes: ClassVar[Names] = ("bad_input",)


class NanBatch(BatchFault):
    """NaN in every value of the first samples of some batches."""

    kind: Literal["nan_batch"] = "nan_batch"


class InfBatch(BatchFault):
    """Infinity in every value of the first samples of some batches."""

    kind: Literal["inf_batch"] = "inf_batch"


class OutlierBatch(BatchFault):
    """Every value of the first samples of some batches multiplied: finite, and far from all others."""

    kind: Literal["outlier_batch"] = "outlier_batch"
    factor: Factor = 1e4
    """What the values are multiplied by."""
    expected_signals = _NUMERIC
    expected_causes = ("bad_input", "gradient_explosion")


class NanSample(Expected):
    """NaN in every value of some rows of the data set, in every epoch."""

    kind: Literal["nan_sample"] = "nan_sample"
    rows: Annotated[tuple[Annotated[int, Field(strict=True, ge=0, le=10**12)], ...], Field(min_length=1)]
    """Indices in the data set, from 0."""
    expected_signals = ("nonfinite_loss", "nonfinite_gradient")
    expected_causes = ("bad_input",)


class ParameterFault(Scheduled, Expected):
    """A fault of one parameter; it strikes once, also where a reload goes back behind it."""

    parameter: Glob = "*"
    """Glob over the parameters' qualified names, whatever the case; the first that matches is hit."""


class NanWeight(ParameterFault):
    """NaN in one element of a parameter, before the forward pass."""

    kind: Literal["nan_weight"] = "nan_weight"
    lasting = True
    expected_signals = ("nonfinite_parameter",)
    expected_causes = ("poisoned_parameter",)


class BitFlip(ParameterFault):
    """One bit of one element of a parameter turned over, as by a cosmic ray or a bad memory cell."""

    kind: Literal["bit_flip"] = "bit_flip"
    lasting = True
    element: Annotated[int, Field(strict=True, ge=0, le=10**12)] = 0
    """Which element, in the order they lie in memory; modulo their number."""
    bit: Annotated[int, Field(strict=True, ge=0, le=63)] | None = None
    """Which bit, from the lowest; null: the highest of the exponent, which makes a small number a huge one."""
    expected_signals = _NUMERIC
    expected_causes = _DAMAGED_STATE


class GradientFault(ParameterFault):
    """A wrong number in one element of a parameter's gradient, as the backward pass accumulates it."""

    expected_signals: ClassVar[Names] = ("nonfinite_gradient",)
    expected_causes: ClassVar[Names] = ("not_reproducible",)


class NanGradient(GradientFault):
    """NaN in one element of a parameter's gradient."""

    kind: Literal["nan_gradient"] = "nan_gradient"


class InfGradient(GradientFault):
    """Infinity in one element of a parameter's gradient."""

    kind: Literal["inf_gradient"] = "inf_gradient"


class OverflowGradient(Scheduled, Expected):
    """Every gradient multiplied until its largest element is 1e30: all finite, the norm is not. Once."""

    kind: Literal["overflow_gradient"] = "overflow_gradient"
    expected_signals = ("gradient_overflow",)
    expected_causes = ("not_reproducible",)


class NanOptimizerState(ParameterFault):
    """NaN in one element of a parameter's optimizer state."""

    kind: Literal["nan_optimizer_state"] = "nan_optimizer_state"
    lasting = True
    state_key: Glob = "exp_avg_sq"
    """Which tensor of the state; nothing happens while the optimizer has none of that name."""
    expected_signals = ("nonfinite_optimizer_state",)
    expected_causes = ("poisoned_optimizer_state",)


class LrSpike(Scheduled, Expected):
    """The learning rate of every group multiplied for some batches in a row, as by a scheduler with a bug."""

    kind: Literal["lr_spike"] = "lr_spike"
    lasting = True
    factor: Factor = 1000.0
    """What the learning rates are multiplied by."""
    batches: Annotated[int, Field(strict=True, ge=1, le=10**6)] = 3
    """For how many batches, those that are skipped included."""
    expected_signals = (*_NUMERIC, "nonfinite_optimizer_state")
    expected_causes = _DAMAGED_STATE


class ForwardException(Scheduled, Expected):
    """An exception raised in the step, once."""

    kind: Literal["forward_exception"] = "forward_exception"
    module: Glob | None = None
    """Glob over qualified names and class names: raised by the forward pass of the first module that matches;
    null: by the loss function, before any."""
    expected_signals = ("step_exception",)
    expected_causes = ("exception",)


class OutOfMemory(Scheduled, Expected):
    """An allocation on the model's device that no machine can satisfy: it fails as a real one does."""

    kind: Literal["out_of_memory"] = "out_of_memory"
    expected_signals = ("step_exception",)
    expected_causes = ("exception",)


class Hang(Scheduled, Expected):
    """The step never ends: the worker sleeps until it is killed."""

    kind: Literal["hang"] = "hang"
    expected_signals = ("worker_stalled",)


class KillWorker(Scheduled, Expected):
    """The worker kills itself with SIGKILL, in the middle of a step."""

    kind: Literal["kill_worker"] = "kill_worker"
    expected_signals = ("worker_exited",)


class SlowStep(Scheduled, Expected):
    """A step that takes longer than the others, and then goes on."""

    kind: Literal["slow_step"] = "slow_step"
    seconds: Seconds = 2.0
    """How much longer."""
    expected_signals = ("warning: slow step",)


class Damage(enum.StrEnum):
    """What happens to a checkpoint on disk."""

    TRUNCATE = "truncate"
    """The second half of its state file is gone."""
    FLIP = "flip"
    """One bit in the middle of its state file is turned over."""
    NAN = "nan"
    """A NaN stands in its first parameter, and manifest and hash agree with that."""


class CorruptCheckpoint(Scheduled, Expected):
    """The newest checkpoint on disk is damaged. It shows when it is read: at the next restart, or reload from disk."""

    kind: Literal["corrupt_checkpoint"] = "corrupt_checkpoint"
    mode: Damage = Damage.TRUNCATE
    """How it is damaged."""
    expected_signals = ("checkpoint_rejected",)


class DiskFull(Scheduled, Expected):
    """Writes fail: no file of the worker may grow beyond a limit, as on a disk with little left.

    The kernel refuses the write (`RLIMIT_FSIZE`); the user's disk is not touched, and a restart lifts it.
    """

    kind: Literal["disk_full"] = "disk_full"
    batches: Annotated[int, Field(strict=True, ge=1, le=10**9)] = 250
    """For how many batches; a checkpoint should fall due within them."""
    file_bytes: Annotated[int, Field(strict=True, ge=0, le=2**62)] | None = None
    """The largest file that can still be written; null: half of the newest checkpoint."""
    expected_signals = ("warning: checkpoint",)


AnyFault = (
    NanBatch
    | InfBatch
    | OutlierBatch
    | NanSample
    | NanGradient
    | InfGradient
    | OverflowGradient
    | NanWeight
    | BitFlip
    | NanOptimizerState
    | LrSpike
    | ForwardException
    | OutOfMemory
    | Hang
    | KillWorker
    | CorruptCheckpoint
    | DiskFull
    | SlowStep
)
Fault = Annotated[AnyFault, Field(discriminator="kind")]


class FaultScript(Section):
    """A fault file."""

    version: FormatVersion = 1
    """Version of this file format."""
    faults: Annotated[tuple[Fault, ...], Field(max_length=10_000)] = ()
    """What goes wrong."""
