"""The in-process half: the loop that runs each step, decides, recovers and keeps the record."""

from supervisor.guard.guard import Guard
from supervisor.guard.outcome import StepOutcome

__all__ = ["Guard", "StepOutcome"]
