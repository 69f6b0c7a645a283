"""The listener that keeps what it hears."""

from __future__ import annotations

from supervisor.events import schema
from supervisor.records import ActionName, SignalName
from supervisor.testing.events import EventList


def test_it_keeps_the_events_in_order_and_finds_them_by_name() -> None:
    heard = EventList()
    signal = schema.SignalEvent(signal=SignalName.NONFINITE_LOSS)
    decisions = [
        schema.DecisionEvent(incident=1, rung=rung, action=action, attempt=1, reason="because")
        for rung, action in enumerate((ActionName.SKIP_BATCH, ActionName.HALT))
    ]
    for event in (decisions[0], signal, decisions[1]):
        heard(event)
    assert heard == [decisions[0], signal, decisions[1]]
    assert heard.named("signal") == [signal]
    assert heard.named("signal", "decision") == [decisions[0], signal, decisions[1]]
    assert heard.actions() == ["skip_batch", "halt"]
