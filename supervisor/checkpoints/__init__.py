"""Durable states on disk: written so that a kill leaves them whole or absent, and verified when read."""

from supervisor.checkpoints.manifest import Manifest
from supervisor.checkpoints.retention import Kept, surplus
from supervisor.checkpoints.store import BackgroundWriter, CheckpointInfo, CheckpointStore

__all__ = ["BackgroundWriter", "CheckpointInfo", "CheckpointStore", "Kept", "Manifest", "surplus"]
