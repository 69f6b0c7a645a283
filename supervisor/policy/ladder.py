"""The rungs of the ladder: the ordered recovery actions, each with its own settings and its own budget."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from supervisor.config.section import Count, Section, Steps, conflict
from supervisor.policy.cures import TryCuresRung
from supervisor.policy.ladder_base import LimitedRung, UseLimit
from supervisor.records import ActionName


class DataAfterReload(enum.StrEnum):
    """Which batches come after a reload."""

    ADVANCE = "advance"
    """The data go on where they were: the batches seen since the restored state do not come again."""
    REPLAY = "replay"
    """The data go back with the state: the same batches come again."""


class RedrawMethod(enum.StrEnum):
    """How weights are drawn afresh."""

    ORTHOGONAL = "orthogonal"
    """Orthogonal recurrent weights, Xavier input weights."""
    XAVIER = "xavier"
    """Xavier (Glorot) uniform for all matrices."""


class SkipBatchRung(LimitedRung):
    """Discard the flagged batch and go on with the next one. Costs one batch.

    Where `experiments` find that the data are bad and the state is sound, neither `attempts` nor `limit` count, but
    `experiments.bad_data`.
    """

    action: Literal[ActionName.SKIP_BATCH] = ActionName.SKIP_BATCH
    attempts: Count = 3
    """How often in one incident before the next rung is tried."""
    limit: UseLimit | None = UseLimit(uses=100, window_updates=1000)
    """Budget over all incidents; null: no limit."""


class LowerLrRung(LimitedRung):
    """Discard the batch and multiply the learning rate by `factor` for a while."""

    action: Literal[ActionName.LOWER_LR] = ActionName.LOWER_LR
    attempts: Count = 2
    """How often in one incident before the next rung is tried; each time is one more cut."""
    factor: Annotated[float, Field(strict=True, ge=1e-6, lt=1, allow_inf_nan=False)] = 0.5
    """What one cut multiplies the learning rate by."""
    restore_after_steps: Steps = 200
    """Healthy steps after which a cut is taken back."""
    limit: UseLimit | None = UseLimit(uses=6, window_updates=2000)
    """Budget over all incidents; null: no limit."""


class ReloadCheckpointRung(LimitedRung):
    """Go back to the newest good state, in memory or on disk."""

    action: Literal[ActionName.RELOAD_CHECKPOINT] = ActionName.RELOAD_CHECKPOINT
    attempts: Count = 2
    """How often in one incident before the next rung is tried."""
    data: DataAfterReload = DataAfterReload.ADVANCE
    """`advance`: fresh batches after the reload. `replay`: the same batches again."""
    retry_factor: Annotated[float, Field(strict=True, ge=1e-6, lt=1, allow_inf_nan=False)] | None = 0.1
    """What one more cut multiplies the learning rate by, where healthy steps that followed a reload led no further:
    the run went wrong again from where it was put back; only where `try_cures` cannot look for the reason. null: the
    rate stays untouched."""
    restore_after_steps: Steps = 1000
    """Healthy steps after which such a cut is taken back."""
    limit: UseLimit = UseLimit(uses=4, window_updates=2000)
    """Budget over all incidents. It cannot be null: a run that reloads without limit may never end."""


class ReinitializeRung(LimitedRung):
    """Go back to the newest good state, then draw the weights of some modules afresh."""

    action: Literal[ActionName.REINITIALIZE] = ActionName.REINITIALIZE
    attempts: Count = 1
    """How often in one incident before the next rung is tried."""
    modules: Annotated[
        Literal["auto"] | tuple[str, ...],
        Field(json_schema_extra={"type": ["string", "array"], "items": {"type": "string"}}),
    ] = "auto"
    """`auto` (the module the diagnosis blames, else every GRU, LSTM and RNN, and every module of your own that has
    `is_recurrent_cell = True`), or globs over qualified names and class names, whatever their case."""
    method: RedrawMethod = RedrawMethod.ORTHOGONAL
    """How the weights are drawn."""
    limit: UseLimit = UseLimit(uses=1, window_updates=5000)
    """Budget over all incidents. It cannot be null: a run that goes back without limit may never end."""

    @field_validator("modules", mode="wrap")
    @classmethod
    def _auto_or_globs(cls, value: Any, _handler: Any) -> Literal["auto"] | tuple[str, ...]:
        globs = (value,) if isinstance(value, str) else value
        listed = isinstance(globs, list | tuple) and all(isinstance(each, str) and each.strip() for each in globs)
        if not listed or not 1 <= len(globs) <= 1000 or ("auto" in globs and len(globs) > 1):
            raise conflict("names no modules", 'write `auto`, or a list of globs such as ["encoder.*", "*gru*"]')
        return "auto" if tuple(globs) == ("auto",) else tuple(globs)


class HaltRung(Section):
    """Stop the run with evidence, the model in its newest good state, or as it is where the data or code are bad."""

    noun = "rung"
    action: Literal[ActionName.HALT] = ActionName.HALT


AnyRung = SkipBatchRung | LowerLrRung | ReloadCheckpointRung | TryCuresRung | ReinitializeRung | HaltRung
"""Any rung; tell them apart with `isinstance` or by `.action`."""

Rung = Annotated[AnyRung, Field(discriminator="action")]
"""The same, as pydantic reads it: `action` names the kind."""

DEFAULT_LADDER: tuple[AnyRung, ...] = (
    SkipBatchRung(),
    LowerLrRung(),
    ReloadCheckpointRung(),
    TryCuresRung(),
    ReinitializeRung(),
    HaltRung(),
)
"""One rung for each action, from the one that costs least to the one that ends the run."""
