"""`supervisor preflight`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from supervisor.cli.output import print_json, print_text, reader_may_leave
from supervisor.errors import ExitCode, InputError
from supervisor.streams import tell

__all__ = ["preflight"]

ROWS = 1000
"""How many rows are looked at where the user does not say: seconds, for most data."""


def preflight(
    job: Annotated[str, typer.Argument(help="The job file.", metavar="JOB.yaml", show_default=False)],
    rows: Annotated[
        str,
        typer.Option(
            help="How many rows of the data are looked at, spread evenly; `all` for a whole pass.", metavar="N"
        ),
    ] = str(ROWS),
    policy: Annotated[str | None, typer.Option(help="A policy file instead of the job's.", metavar="P.yaml")] = None,
    run_dir: Annotated[
        str | None,
        typer.Option(help="Where the run would write, instead of the job's: its disk is looked at.", metavar="DIR"),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Where the schedule ends, instead of the job's.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Set one value, as in `run`. May be repeated.", metavar="a.b=VALUE"),
    ] = None,
    quarantine_out: Annotated[
        str | None,
        typer.Option(
            help="Where the list of bad rows goes, if there are any; without it JOB-quarantine.jsonl beside the job "
            "file. A list of an earlier preflight is replaced, no other file.",
            metavar="FILE",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for machines.")] = False,
) -> None:
    """Try a job before a run of days, and leave nothing behind but a list of bad rows.

    In a process of its own the trainer is built, some updates are taken under the guard, and `evaluate` is called
    once. A checkpoint is written beside the run directory, read back and compared bit for bit. It prints the time of a
    step and of the whole run, the memory, and the room that the checkpoints take against the free disk.

    The rows of the data are read: those that raise, that hold values which are not finite, or that lie far outside of
    their column go into a list that the job can name as `quarantine`, so that the run leaves them out.

    Exit codes: 0 the job can run (bad rows and warnings included, since a run survives them), 2 bad input, or the job
    cannot take a step, or its checkpoints do not fit on the disk.
    """
    from supervisor.job import load_job
    from supervisor.preflight import folded, launch, render_preflight

    resolved = load_job(job, overrides=overrides or (), policy=policy, run_dir=run_dir, steps=steps)
    found = launch.preflight(resolved, rows=_rows(rows), quarantine_out=quarantine_out)
    with reader_may_leave():
        if as_json:
            print_json(found.model_dump_json(indent=2))
        else:
            lines, console = render_preflight(found), Console()
            print_text("\n".join(folded(lines, console.width) if console.is_terminal else lines))
    if found.problems:
        for problem in found.problems:
            tell(problem)
        raise typer.Exit(ExitCode.BAD_INPUT)


def _rows(typed: str) -> int | None:
    if typed == "all":
        return None
    if not (typed.isascii() and typed.isdecimal() and int(typed) > 0):
        raise InputError(f"--rows {typed}: is no number of rows: write 1 or more, or `all`")
    return int(typed)
