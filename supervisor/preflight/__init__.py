"""What a job would meet, looked at before a run of days: the first updates, a checkpoint, the rows of its data."""

from __future__ import annotations

from supervisor.preflight.launch import preflight
from supervisor.preflight.report import Preflight
from supervisor.preflight.view import folded, render_preflight

__all__ = ["Preflight", "folded", "preflight", "render_preflight"]
