"""The model's configuration: shape, movement, the cell, and the safety fields around it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["PRESETS", "CellName", "EnergyConfig", "PresetName"]

CellName = Literal["gru", "mingru", "layer_norm_gru", "lru"]
PresetName = Literal["small", "debug", "experiment"]

PRESETS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "small": MappingProxyType(
            {
                "lattice_width": 8,
                "lattice_height": 8,
                "lattice_depth": 8,
                "carrier_hidden_size": 32,
                "carrier_layers": 2,
                "max_spawned_flows": 4,
            }
        ),
        "debug": MappingProxyType(
            {
                "lattice_width": 20,
                "lattice_height": 20,
                "lattice_depth": 10,
                "carrier_hidden_size": 256,
                "carrier_layers": 2,
                "max_spawned_flows": 25,
            }
        ),
        "experiment": MappingProxyType(
            {
                "lattice_width": 28,
                "lattice_height": 28,
                "lattice_depth": 40,
                "carrier_hidden_size": 512,
                "carrier_layers": 3,
                "max_spawned_flows": 49,
            }
        ),
    }
)
"""What each preset sets; every other field keeps its default."""


class EnergyConfig(BaseModel):
    """Shape, movement and safety of an EnergyFlow model. Frozen; unknown keys and inexact types are refused.

    Coordinates are normalised: the lattice reaches from -1 to 1 along each axis, whatever its number of
    cells.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    lattice_width: int = Field(8, ge=2, le=256, description="Cells along X of each surface plane.")
    lattice_height: int = Field(8, ge=2, le=256, description="Cells along Y of each surface plane.")
    lattice_depth: int = Field(
        8, ge=4, le=256, description="Cells along Z; flows start in the middle and get depth // 2 steps."
    )
    embedding_dim: int = Field(384, ge=2, le=8192, description="Elements of a question or answer embedding.")

    neuron_hidden_dim: int = Field(32, ge=1, le=4096, description="Width of the neuron's two hidden layers.")
    neuron_output_dim: int = Field(64, ge=1, le=4096, description="Elements a neuron hands to the carrier.")
    embedding_part_dim: int = Field(
        1,
        ge=1,
        le=256,
        description="C, what a flow carries of the embedding and brings back to its plane: the energy of its cell, "
        "and C - 1 numbers more.",
    )
    carrier_cell: CellName = Field(
        "gru", description="The recurrence that carries the flows; each has its strengths: docs/stability.md."
    )
    carrier_hidden_size: int = Field(32, ge=2, le=4096, description="Hidden size h of the shared cell.")
    carrier_layers: int = Field(2, ge=1, le=16, description="Layers L of the shared cell.")

    outward_travel: float = Field(
        1.3,
        ge=0.0,
        le=4.0,
        description="How far along +Z an untrained flow drifts in all its steps; 1 reaches the plane.",
    )
    exploration_noise: float = Field(
        0.02, ge=0.0, le=1.0, description="Standard deviation of the noise on each displacement in training."
    )
    spawn_movement_threshold: float = Field(
        0.45,
        ge=0.0,
        le=10.0,
        description="Length of a step's displacement beyond which a flow spawns another.",
    )
    max_spawned_flows: int = Field(
        4,
        ge=0,
        le=65536,
        description="Flows that may be spawned in one sample over all steps; 0 turns it off.",
    )

    gru_max_gradient_norm: float = Field(
        1.0,
        gt=0.0,
        le=1e6,
        description="L2 norm to which the gradient of each of the cell's parameters is clipped, one by one.",
    )
    gru_input_clip_value: float = Field(
        10.0, gt=0.0, le=1e6, description="Bound on what enters the cell: its input and its hidden state."
    )
    gru_output_clip_value: float = Field(
        10.0, gt=0.0, le=1e6, description="Bound on what leaves the carrier: the cell's output, hidden state, heads."
    )
    enable_gru_nan_protection: bool = Field(
        True, description="Replace NaN by 0 and infinities by the clip value around the cell, and count them."
    )
    gru_initialization_method: Literal["orthogonal", "xavier"] = Field(
        "orthogonal",
        description="How the hidden weights of a cell that has them (gru, layer_norm_gru) are drawn; the input weights "
        "are Xavier in both.",
    )
    enable_detailed_gradient_monitoring: bool = Field(
        False, description="Count bad gradients and outputs every step and log them; waits for the device."
    )
    log_extreme_values: bool = Field(
        True,
        description="Count finite values beyond extreme_value_threshold that enter the cell or leave a head.",
    )
    extreme_value_threshold: float = Field(
        100.0,
        gt=0.0,
        le=1e30,
        description="Magnitude from which a finite value or gradient counts as extreme.",
    )

    @model_validator(mode="after")
    def _depth_is_even(self) -> Self:
        if self.lattice_depth % 2:
            raise ValueError(f"lattice_depth: {self.lattice_depth} has no centre plane: write {self.lattice_depth + 1}")
        return self

    @model_validator(mode="after")
    def _lru_has_pairs(self) -> Self:
        size = self.carrier_hidden_size
        if self.carrier_cell == "lru" and size % 2:
            raise ValueError(f"carrier_hidden_size: an lru holds pairs of numbers and {size} is odd: write {size + 1}")
        return self

    @classmethod
    def preset(cls, name: PresetName) -> Self:
        """A named size: `small` (8x8x8), `debug` (20x20x10) or `experiment` (28x28x40).

        Raises:
            ValueError: there is no preset of that name.
        """
        if name not in PRESETS:
            raise ValueError(f"preset {name!r} does not exist: write one of {', '.join(PRESETS)}")
        return cls.model_validate(dict(PRESETS[name]))

    @property
    def surface_cells(self) -> int:
        """S, the cells of one surface plane, which is also the number of flows a sample starts with."""
        return self.lattice_width * self.lattice_height

    @property
    def surface_size(self) -> int:
        """S·C, the numbers on a whole surface."""
        return self.surface_cells * self.embedding_part_dim

    @property
    def flow_slots(self) -> int:
        """N, the flows a sample can hold: one a cell, and room for those that are spawned."""
        return self.surface_cells + self.max_spawned_flows

    @property
    def steps(self) -> int:
        """Time steps a flow has to reach a plane."""
        return self.lattice_depth // 2
