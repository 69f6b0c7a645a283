"""Computations made only to decide: they leave no trace in the training."""

from supervisor.experiments.canaries import Canary, RecentCanaries
from supervisor.experiments.experimenter import Experimenter, Tools
from supervisor.experiments.probing import Probing
from supervisor.experiments.windows import Memory, Windows

__all__ = ["Canary", "Experimenter", "Memory", "Probing", "RecentCanaries", "Tools", "Windows"]
