"""A recorded run decided again under another policy. Pure: no torch, no training."""

from supervisor.replay.recording import RecordedRun, RecordedUpdate, read_recording
from supervisor.replay.replay import Comparison, Replayed, replay

__all__ = ["Comparison", "RecordedRun", "RecordedUpdate", "Replayed", "read_recording", "replay"]
