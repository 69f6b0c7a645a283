"""Layers most of whose units are dead."""

from __future__ import annotations

from supervisor.records import SignalName
from supervisor.signals.dead_units import dead_units_signal


def test_the_worst_layer_is_named_first() -> None:
    signal = dead_units_signal({"a": 0.85, "b": 0.5, "c": 1.0})
    assert signal is not None
    assert signal.name is SignalName.DEAD_UNITS
    assert signal.details == {"modules": ("c", "a"), "share": 1.0}


def test_a_share_of_four_fifths_is_sound() -> None:
    assert dead_units_signal({"a": 0.8}) is None
    assert dead_units_signal({}) is None
