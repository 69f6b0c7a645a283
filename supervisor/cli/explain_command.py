"""`supervisor explain`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from supervisor.cli.output import print_json, print_text, reader_may_leave
from supervisor.display import shortened
from supervisor.errors import InputError
from supervisor.events.safe_console import SafeConsole

if TYPE_CHECKING:
    from supervisor.report.process_story import ProcessStory
    from supervisor.report.story import RunStory, Story

__all__ = ["explain"]


def explain(
    run_dir: Annotated[str, typer.Argument(help="The run directory.", metavar="RUN_DIR", show_default=False)],
    incident: Annotated[
        str | None,
        typer.Argument(
            help="One incident: its number, or process-1 for what befell the process; without it, all in short.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The record, for machines.")] = False,
    replay_step: Annotated[
        bool,
        typer.Option(
            "--replay",
            help="Run the flagged step again from the incident's files, in a fresh process, and show the first bad "
            "tensor. Calls the trainer's loss.",
        ),
    ] = False,
) -> None:
    """What went wrong, where it comes from, what was tried and why, what it cost, and what to change."""
    from supervisor.report.story import Story, plain_incident, plain_run, read_story
    from supervisor.report.story_view import wrapped

    story = read_story(run_dir)
    found = None if incident is None else story.incident(incident, run_dir)
    if replay_step:
        if not isinstance(found, Story):
            raise InputError("--replay: say which incident of the training: supervisor explain RUN_DIR N --replay")
        from supervisor.process.incident_rerun import rerun_incident

        raise typer.Exit(rerun_incident(Path(run_dir), found.folder, as_json=as_json))
    with reader_may_leave():
        if as_json:
            print_json(json.dumps(plain_run(story) if found is None else plain_incident(found), indent=2))
        else:
            lines = _told(story, found, run_dir)
            if found is None:
                lines = [shortened(line) for line in lines]
            console = SafeConsole()
            print_text("\n".join(wrapped(lines, console.width) if console.is_terminal else lines))


def _told(story: RunStory, found: Story | ProcessStory | None, run_dir: str) -> list[str]:
    from supervisor.report.story import Story
    from supervisor.report.story_view import render_incident, render_process, render_run

    if found is None:
        return render_run(story, run_dir)
    return render_incident(found, run_dir) if isinstance(found, Story) else render_process(found)
