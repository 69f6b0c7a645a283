"""Checkpoints as files, for whoever looks at them without torch: manifests, names, verification."""

from supervisor.saved.manifest import Manifest
from supervisor.saved.verification import CheckpointInfo, committed, newest_verified, verify

__all__ = ["CheckpointInfo", "Manifest", "committed", "newest_verified", "verify"]
