"""The numbers of a step."""

from __future__ import annotations

from supervisor.events.schema import StepEvent
from supervisor.sinks.scalars import SCALARS, scalars_of


def test_each_number_has_the_name_of_its_field() -> None:
    event = StepEvent(step=3, update=4, loss=0.5, grad_norm=1.5, lr=0.1, lr_scale=0.25, step_seconds=0.02)
    assert scalars_of(event) == {"loss": 0.5, "grad_norm": 1.5, "lr": 0.1, "lr_scale": 0.25, "step_seconds": 0.02}
    assert tuple(scalars_of(event)) == SCALARS
