"""Weights of a wrong scale."""

from __future__ import annotations

import pytest

from supervisor.records import SignalName
from supervisor.signals.initial_scale import initial_scale_signal, wrong_scales


@pytest.mark.parametrize("scale", [0.02, 0.577, 1.0, 8.0])
def test_what_lies_inside_is_sound(scale: float) -> None:
    assert initial_scale_signal({"w": scale}) is None


@pytest.mark.parametrize("scale", [0.0, 0.0199, 8.01, 1e4, float("nan"), float("inf")])
def test_what_lies_outside_is_named(scale: float) -> None:
    signal = initial_scale_signal({"w": scale, "sound": 1.0})
    assert signal is not None
    assert signal.name is SignalName.INITIAL_SCALE
    assert (signal.details["tensors"], signal.details["tensor_count"]) == (("w",), 1)


def test_the_furthest_comes_first() -> None:
    assert [*wrong_scales({"a": 16.0, "b": 0.001, "c": 0.0, "d": 80.0})] == ["c", "b", "d", "a"]
