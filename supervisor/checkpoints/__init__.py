"""Durable states on disk: written so that a kill leaves them whole or absent, and verified when read."""

from supervisor.checkpoints.best import BestRule, best_of
from supervisor.checkpoints.measured import read_metrics, write_metrics
from supervisor.checkpoints.retention import Kept, surplus
from supervisor.checkpoints.store import BackgroundWriter, CheckpointStore

__all__ = [
    "BackgroundWriter",
    "BestRule",
    "CheckpointStore",
    "Kept",
    "best_of",
    "read_metrics",
    "surplus",
    "write_metrics",
]
