"""`supervisor runs`: what runs there are below a directory, and how each stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from supervisor.cli.output import console_for_tables, print_json, print_text, reader_may_leave

__all__ = ["runs"]


def runs(
    directory: Annotated[str, typer.Argument(help="A folder that holds runs.", metavar="DIR")] = "runs",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array, for machines.")] = False,
) -> None:
    """All runs below a directory, one line each: status, step, loss, incidents, restarts, age."""
    from supervisor.report.runs import plain_runs, read_runs, render_runs

    found = read_runs(Path(directory))
    with reader_may_leave():
        if as_json:
            print_json(json.dumps(plain_runs(found), indent=2, ensure_ascii=False, allow_nan=False))
        elif found:
            console_for_tables().print(render_runs(found))
        else:
            print_text(f"{directory}: no runs here or below")
