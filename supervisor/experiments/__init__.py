"""Computations made only to decide: they leave no trace in the training."""

from supervisor.experiments.cures import CuresInForce, why_not_applied
from supervisor.experiments.fork import Forks, Stopped
from supervisor.experiments.zero_output import zero_output_losses

__all__ = ["CuresInForce", "Forks", "Stopped", "why_not_applied", "zero_output_losses"]
