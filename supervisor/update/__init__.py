"""One update as one value, and the port that carries it out."""

from supervisor.update.attempt import Attempt, Phase, Place, Raised
from supervisor.update.executor import Executor, LossFunction
from supervisor.update.native import NativeExecutor, UpdateSettings
from supervisor.update.wrong_loss import LossError

__all__ = [
    "Attempt",
    "Executor",
    "LossError",
    "LossFunction",
    "NativeExecutor",
    "Phase",
    "Place",
    "Raised",
    "UpdateSettings",
]
