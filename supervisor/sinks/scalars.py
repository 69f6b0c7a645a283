"""The numbers of a step that every tool is given, under the same names."""

from __future__ import annotations

from supervisor.events.schema import StepEvent

__all__ = ["SCALARS", "scalars_of"]

SCALARS = ("loss", "grad_norm", "lr", "lr_scale", "step_seconds")
"""Fields of a `step` event."""


def scalars_of(event: StepEvent) -> dict[str, float]:
    """Each of them, by its name; any of them may not be finite."""
    return {name: float(getattr(event, name)) for name in SCALARS}
