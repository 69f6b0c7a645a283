"""A recorded run decided again under another policy. Pure: no torch, no training."""

from supervisor.replay.recording import RecordedRun, read_recording
from supervisor.replay.replay import replay, replay_run
from supervisor.replay.view import plain_replay, render_replay

__all__ = ["RecordedRun", "plain_replay", "read_recording", "render_replay", "replay", "replay_run"]
