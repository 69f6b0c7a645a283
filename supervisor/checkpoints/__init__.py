"""Durable states on disk: written so that a kill leaves them whole or absent, and verified when read."""

from supervisor.checkpoints.retention import Kept, surplus
from supervisor.checkpoints.store import BackgroundWriter, CheckpointStore

__all__ = ["BackgroundWriter", "CheckpointStore", "Kept", "surplus"]
