"""Computations made only to decide: they leave no trace in the training."""

from supervisor.experiments.budget import PassBudget
from supervisor.experiments.canaries import Canary, RecentCanaries
from supervisor.experiments.cures import CuresInForce, why_not_applied
from supervisor.experiments.examining import Examining, Tools
from supervisor.experiments.experimenter import Experimenter
from supervisor.experiments.fork import Forks, Stopped
from supervisor.experiments.others import OtherBatches
from supervisor.experiments.probing import Probing
from supervisor.experiments.windows import Memory, Windows
from supervisor.experiments.zero_output import zero_output_losses

__all__ = [
    "Canary",
    "CuresInForce",
    "Examining",
    "Experimenter",
    "Forks",
    "Memory",
    "OtherBatches",
    "PassBudget",
    "Probing",
    "RecentCanaries",
    "Stopped",
    "Tools",
    "Windows",
    "why_not_applied",
    "zero_output_losses",
]
