"""What a person sees of a run: where it stands, and what it came to."""

from __future__ import annotations

from supervisor.report.status import RunState, Status, read_status, status_of
from supervisor.report.status_view import render_status
from supervisor.report.story import RunStory, Story, plain_incident, plain_run, read_story
from supervisor.report.story_view import render_incident, render_run, wrapped
from supervisor.report.summary import render_summary

__all__ = [
    "RunState",
    "RunStory",
    "Status",
    "Story",
    "plain_incident",
    "plain_run",
    "read_status",
    "read_story",
    "render_incident",
    "render_run",
    "render_status",
    "render_summary",
    "status_of",
    "wrapped",
]
