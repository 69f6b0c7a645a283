"""The records: frozen, with the names and orders that logs and policies are written by."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from supervisor import records
from supervisor.records import ActionName, CauseKind, Decision, Incident, Observation, Outcome, Signal, SignalName

MADE: dict[str, Any] = {
    "Observation": Observation(0, 0, 1.0, 1.0),
    "Signal": Signal(SignalName.NONFINITE_LOSS),
    "Cause": records.Cause(CauseKind.BAD_INPUT, "a NaN in the batch", 3, 4),
    "Decision": Decision(1, 0, ActionName.SKIP_BATCH, 1, "because"),
    "Incident": Incident(1, 3, 4),
}


@pytest.mark.parametrize("name", [name for name in MADE if name != "Observation"])
def test_a_record_cannot_be_changed(name: str) -> None:
    """All but the observation, of which one is made at every step."""
    record = MADE[name]
    for field in dataclasses.fields(record):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, field.name, None)


def test_an_observation_of_loss_and_norm_alone_is_a_healthy_one() -> None:
    healthy = Observation(0, 0, 1.0, 1.0)
    assert healthy.gradient_elements_finite
    assert not any((healthy.bad_gradients, healthy.bad_buffers, healthy.bad_parameters, healthy.bad_optimizer_state))
    assert (healthy.exception, healthy.sanitized, healthy.replayed) == (None, 0, False)


def test_the_details_of_a_signal_that_has_none_cannot_be_written_to() -> None:
    with pytest.raises(TypeError):
        Signal(SignalName.NONFINITE_LOSS).details["loss"] = 1.0  # type: ignore[index]


def test_an_incident_begins_open_and_without_a_cure() -> None:
    incident = Incident(1, 3, 4)
    assert (incident.outcome, incident.cured_by, incident.closed_at_step) == (Outcome.OPEN, None, None)
