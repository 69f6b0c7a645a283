"""What a job's `config` may say of numerical stability; each option is off unless it is written."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from energy_flow.config import EnergyConfig

__all__ = ["Clipping", "OptimizerName", "Precision", "StabilityOptions"]

Precision = Literal["float32", "bfloat16", "float16"]
Clipping = Literal["none", "adagc", "zclip"]
OptimizerName = Literal["adamw", "stable_adamw"]


class StabilityOptions(EnergyConfig):
    """Precision, optimizer, adaptive clipping and averaged weights (docs/stability_options.md)."""

    precision: Precision = Field(
        "float32",
        description="Type in which autocast runs the forward pass; weights stay in float32. With float16 the loss is "
        "scaled, by a `torch.amp.GradScaler`.",
    )
    autocast_bfloat16: bool = Field(False, description="The same as `precision: bfloat16`, by its older name.")
    optimizer: OptimizerName = Field(
        "adamw",
        description="adamw: torch's, fused. stable_adamw: AdamW whose step is bounded, tensor by tensor, where the "
        "second moment lags behind the gradients.",
    )
    gradient_clipping: Clipping = Field(
        "none",
        description="Clipping that follows the gradients. adagc: each tensor by its own past norms. zclip: all "
        "together, by the z-score of their total norm.",
    )
    clipping_warmup_updates: int | None = Field(
        None,
        ge=1,
        le=10**6,
        description="Updates over which adaptive clipping gathers norms first; None: as published, 100 for adagc and "
        "25 for zclip.",
    )
    adagc_relative_bound: float = Field(
        1.05, gt=1.0, le=1e3, description="How many times its smoothed past norm a tensor's gradient may have."
    )
    zclip_threshold: float = Field(
        2.5, gt=0.0, le=1e3, description="z-score of the total norm from which zclip scales the gradients down."
    )
    ema_decay: float | None = Field(
        None,
        gt=0.0,
        lt=1.0,
        description="Share of its past that the average of the weights keeps with each update. Evaluation and export "
        "then take the average; None: there is none.",
    )

    @model_validator(mode="after")
    def _one_precision(self) -> Self:
        if self.autocast_bfloat16 and self.precision == "float16":
            raise ValueError("autocast_bfloat16: it contradicts `precision: float16`: leave it out")
        return self

    @property
    def forward_precision(self) -> Precision:
        """The type of the forward pass, whichever of the two keys says it."""
        return "bfloat16" if self.autocast_bfloat16 else self.precision
