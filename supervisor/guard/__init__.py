"""The in-process half: each update is inspected, let through or answered, and put on record."""

from supervisor.guard.guard import Guard
from supervisor.guard.outcome import StepOutcome, Verdict

__all__ = ["Guard", "StepOutcome", "Verdict"]
