"""Layers most of whose rectified outputs are zero whatever comes in."""

from __future__ import annotations

from collections.abc import Mapping

from supervisor.records import Signal, SignalName
from supervisor.signals.nonfinite import NAMED

__all__ = ["dead_units_signal"]

MOST = 0.8
"""A larger share of dead units is a finding."""


def dead_units_signal(shares: Mapping[str, float]) -> Signal | None:
    """`dead_units` with the layers, the worst first; None where there is none. It never acts.

    Args:
        shares: the share of units that were zero for every sample, by the name of the module.
    """
    dead = sorted((name for name, share in shares.items() if share > MOST), key=lambda name: -shares[name])
    if not dead:
        return None
    return Signal(SignalName.DEAD_UNITS, {"modules": tuple(dead[:NAMED]), "share": shares[dead[0]]})
