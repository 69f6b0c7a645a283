"""What befell a worker process, in plain words."""

from __future__ import annotations

from collections.abc import Iterator

from supervisor.events.reading_file import said_of_rows
from supervisor.report.process_story import ProcessStory
from supervisor.tracebacks import last_line

__all__ = ["LEFT_BEHIND", "TO_CHANGE", "process_details", "process_headline", "process_sections"]

LEFT_BEHIND = "What it left behind"
"""The title of the section with the traceback of a process."""

TO_CHANGE = "What to change"
"""The title of the section with the advice, here and in the story of an incident of the training."""


def process_headline(story: ProcessStory) -> str:
    """Which worker was gone, when, and how: `process-1: the worker was gone at 12:03:41 UTC: killed (SIGKILL)`."""
    record = story.record
    how = record.signal or f"exit code {record.exit_code}"
    return f"{story.name}: the worker was gone at {record.time:%H:%M:%S} UTC: {record.classification} ({how})"


def process_details(story: ProcessStory) -> Iterator[str]:
    """What followed, why it died, and what it was at, in a line each."""
    yield story.followed
    why = last_line(story.record.reason)
    if why is not None and why not in story.followed:
        yield why
    if story.record.rows:
        yield said_of_rows(story.record.rows)
    if story.record.stacks:
        yield f"what its threads were at: {story.folder / story.record.stacks}"


def process_sections(story: ProcessStory) -> Iterator[tuple[str, list[str]]]:
    """What `render_process` tells below its first line: title and lines of each section that has any."""
    evidence = [f"{story.folder}/incident.json"]
    if story.record.stacks:
        evidence.append(f"{story.folder / story.record.stacks}: what its threads were at")
    sections = {
        LEFT_BEHIND: (story.record.reason or "no traceback").splitlines(),
        "What followed": [story.followed],
        TO_CHANGE: [*story.advice],
        "Evidence": evidence,
    }
    return ((title, lines) for title, lines in sections.items() if lines)
