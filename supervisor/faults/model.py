"""The fault script: what goes wrong, and at which batch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from supervisor.policy.base import FormatVersion, Section

__all__ = [
    "Fault",
    "FaultScript",
    "NanBatch",
    "NanGradient",
    "NanOptimizerState",
    "NanSample",
    "NanWeight",
    "OverflowGradient",
    "ParameterFault",
]

BatchNumber = Annotated[int, Field(strict=True, ge=0, le=10**12)]
Glob = Annotated[str, Field(strict=True, min_length=1, max_length=500)]


class NanBatch(Section):
    """NaN in every value of the first sample of some batches."""

    kind: Literal["nan_batch"] = "nan_batch"
    at_batch: BatchNumber
    """The first batch, counted from 0 over all epochs."""
    batches: Annotated[int, Field(strict=True, ge=1, le=10**9)] = 1
    """How many batches in a row."""


class NanSample(Section):
    """NaN in every value of some rows of the data set, in every epoch."""

    kind: Literal["nan_sample"] = "nan_sample"
    rows: Annotated[tuple[Annotated[int, Field(strict=True, ge=0, le=10**12)], ...], Field(min_length=1)]
    """Indices in the data set, from 0."""


class ParameterFault(Section):
    """A fault of one parameter, once; no reload brings it back."""

    at_batch: BatchNumber
    """The batch whose forward pass finds it, counted from 0 over all epochs."""
    parameter: Glob = "*"
    """Glob over the parameters' qualified names, whatever the case; the first that matches is hit."""


class NanWeight(ParameterFault):
    """NaN in one element of a parameter."""

    kind: Literal["nan_weight"] = "nan_weight"


class NanGradient(ParameterFault):
    """NaN in one element of a parameter's gradient."""

    kind: Literal["nan_gradient"] = "nan_gradient"


class NanOptimizerState(ParameterFault):
    """NaN in one element of a parameter's optimizer state."""

    kind: Literal["nan_optimizer_state"] = "nan_optimizer_state"
    state_key: Glob = "exp_avg_sq"
    """Which tensor of the state; nothing happens while the optimizer has none of that name."""


class OverflowGradient(Section):
    """Every gradient multiplied until its largest element is 1e30: all finite, the norm is not. Once."""

    kind: Literal["overflow_gradient"] = "overflow_gradient"
    at_batch: BatchNumber
    """The batch whose backward pass does it, counted from 0 over all epochs."""


AnyFault = NanBatch | NanSample | NanWeight | NanGradient | NanOptimizerState | OverflowGradient
Fault = Annotated[AnyFault, Field(discriminator="kind")]


class FaultScript(Section):
    """A fault file."""

    version: FormatVersion = 1
    """Version of this file format."""
    faults: Annotated[tuple[Fault, ...], Field(max_length=10_000)] = ()
    """What goes wrong."""
