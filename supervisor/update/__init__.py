"""One update as one value, and the port that carries it out."""

from supervisor.update.attempt import Attempt, Phase, Place, Raised
from supervisor.update.executor import Executor, LossFunction
from supervisor.update.native import NativeExecutor, UpdateSettings

__all__ = ["Attempt", "Executor", "LossFunction", "NativeExecutor", "Phase", "Place", "Raised", "UpdateSettings"]
