"""What happens in a recovery, from the records that flow inside the process to events."""

from __future__ import annotations

import json
import math

import pytest

from supervisor.events import recovery_events
from supervisor.records import ActionName, Cause, CauseKind, Decision, Signal, SignalName


def test_a_signal_puts_its_details_flat_on_the_line():
    signal = Signal(SignalName.GRADIENT_OVERFLOW, {"grad_norm": math.inf, "bad_gradients": ("gru.weight",)})

    line = json.loads(recovery_events.SignalEvent.from_signal(signal, step=3, update=4).model_dump_json(by_alias=True))

    assert line["signal"] == "gradient_overflow"
    assert line["grad_norm"] == "inf"
    assert line["bad_gradients"] == ["gru.weight"]
    assert (line["step"], line["update"]) == (3, 4)


@pytest.mark.parametrize("name", ["step", "schema", "signal", "time"])
def test_a_detail_may_not_take_the_name_of_a_common_field(name: str):
    with pytest.raises(ValueError, match=f"reserved names: {name}: rename them"):
        recovery_events.SignalEvent.from_signal(Signal(SignalName.LOSS_SPIKE, {name: 1}), step=0, update=0)


def test_a_decision_keeps_all_its_fields():
    decision = Decision(incident=2, rung=1, action=ActionName.LOWER_LR, attempt=3, reason="because")

    event = recovery_events.DecisionEvent.from_decision(decision, step=5, update=6)

    assert (event.incident, event.rung, event.action, event.attempt, event.reason) == (
        2,
        1,
        ActionName.LOWER_LR,
        3,
        "because",
    )
    assert (event.step, event.update) == (5, 6)


def test_a_decision_takes_along_what_a_replay_of_it_needs():
    decision = Decision(incident=1, rung=0, action=ActionName.SKIP_BATCH, attempt=1, reason="because", retry=True)

    event = recovery_events.DecisionEvent.from_decision(
        decision, step=5, update=6, blocked={2: "no state"}, can_retry=True
    )

    assert (event.blocked, event.can_retry, event.retry) == ({2: "no state"}, True, True)
    assert json.loads(event.model_dump_json())["blocked"] == {"2": "no state"}


def test_a_cause_keeps_all_its_fields():
    cause = Cause(
        kind=CauseKind.BAD_INPUT,
        explanation="NaN in sample 3",
        step=5,
        update=6,
        batch_number=7,
        samples=(3,),
        dataset_indices=(40, "b"),
        seconds=0.25,
    )

    event = recovery_events.DiagnosisEvent.from_cause(cause, incident=2)

    assert (event.incident, event.kind, event.explanation) == (2, CauseKind.BAD_INPUT, "NaN in sample 3")
    assert (event.step, event.update, event.batch_number) == (5, 6, 7)
    assert (event.samples, event.dataset_indices, event.seconds) == ((3,), (40, "b"), 0.25)
