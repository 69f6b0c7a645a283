"""What a person sees of a run: where it stands, and what it came to."""

from __future__ import annotations

from supervisor.report.status import RunState, Status, read_status, status_of
from supervisor.report.status_view import render_status
from supervisor.report.summary import render_summary

__all__ = ["RunState", "Status", "read_status", "render_status", "render_summary", "status_of"]
