"""The decision engine: which rung of the ladder answers which signal. Pure: no torch, no clock, no I/O."""

from supervisor.engine.decide import advance, decide, dismissed, no_further, passed_over, reject, restored
from supervisor.engine.state import BadBatches, Closed, EngineState, LearningRateCut, OpenIncident

__all__ = [
    "BadBatches",
    "Closed",
    "EngineState",
    "LearningRateCut",
    "OpenIncident",
    "advance",
    "decide",
    "dismissed",
    "no_further",
    "passed_over",
    "reject",
    "restored",
]
