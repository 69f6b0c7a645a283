"""What a job's `config` may say: the model's fields and those of its training, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import Field, model_validator

from energy_flow.config import PRESETS, PresetName
from energy_flow.stability_options import StabilityOptions

__all__ = ["EnergyTrainerConfig"]


class EnergyTrainerConfig(StabilityOptions):
    """The model's configuration and its training's. Values written beside a `preset` win over it."""

    preset_name: PresetName | None = Field(
        None, alias="preset", description="Named size to start from: small, debug or experiment."
    )
    learning_rate: float = Field(1e-3, gt=0.0, le=10.0, description="Highest learning rate, after the warm-up.")
    batch_size: int = Field(32, ge=1, le=65536, description="Pairs in a batch.")
    weight_decay: float = Field(0.3, ge=0.0, le=100.0, description="AdamW's decay of weight matrices.")
    cosine_weight: float = Field(
        0.0, ge=0.0, le=100.0, description="Weight in the loss of 1 - cosine, beside the squared error."
    )
    travel_weight: float = Field(
        0.1,
        ge=0.0,
        le=100.0,
        description="Weight in the loss of the mean distance that flows fall short of a plane.",
    )
    question_noise: float = Field(
        1.0,
        ge=0.0,
        le=100.0,
        description="Length of the noise added to a question in training; a question has length 1.",
    )
    echo_length: float = Field(
        0.4,
        ge=0.0,
        le=10.0,
        description="How much of the question is left in its echo, the target that training begins with.",
    )
    echo_hold: float = Field(
        0.3, ge=0.0, le=1.0, description="Share of the schedule after which the target goes over from echo to answer."
    )
    echo_end: float = Field(
        0.9,
        ge=0.0,
        le=1.0,
        description="Share of the schedule from which the target is the answer alone; 0: from the start.",
    )
    warmup_steps: int = Field(100, ge=0, le=10**9, description="Steps over which the learning rate rises.")
    schedule_steps: int | None = Field(
        None,
        ge=1,
        le=10**9,
        description="Steps after which the cosine schedule has come down to its floor; None: as many as the job has, "
        "and 1500 at least.",
    )
    data: str | None = Field(
        None,
        description="Safetensors file of `questions` and `answers` [pairs, elements], relative to the working "
        "directory; None: the bundled one.",
    )
    validation_pairs: int = Field(
        512, ge=2, le=10**6, description="Pairs held out to make choices on, from the end of the file."
    )
    test_pairs: int = Field(
        0,
        ge=0,
        le=10**6,
        description="Pairs of a file of your own kept for the last measurement, before those for validation. Of the "
        "bundled file 512 are kept in any case.",
    )
    candidate_pool: int = Field(
        256, ge=2, le=10**5, description="Held-out answers among which a prediction has to find its own."
    )

    @model_validator(mode="before")
    @classmethod
    def _start_from_preset(cls, values: object) -> object:
        name = values.get("preset") if isinstance(values, Mapping) else None
        # What is no name is left to the field, which refuses it.
        if isinstance(values, Mapping) and isinstance(name, str) and name in PRESETS:
            return {**PRESETS[name], **values}
        return values

    @model_validator(mode="after")
    def _pool_is_filled(self) -> Self:
        if self.candidate_pool > self.validation_pairs:
            raise ValueError(
                f"candidate_pool: {self.candidate_pool} is more than the {self.validation_pairs} pairs "
                f"held out: write {self.validation_pairs} or less"
            )
        return self
