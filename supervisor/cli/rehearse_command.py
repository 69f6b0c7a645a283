"""`supervisor rehearse`."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer
from rich.console import Console

from supervisor.cli.output import output_on_stderr, reader_may_leave
from supervisor.job import load_job
from supervisor.rehearsal import Rehearsal, render_score

__all__ = ["rehearse"]

TABLE_WIDTH = 120


def rehearse(
    job: Annotated[str, typer.Argument(help="The job file.", metavar="JOB.yaml", show_default=False)],
    faults: Annotated[
        str | None, typer.Option(help="What goes wrong; without it the job's own `faults`.", metavar="F.yaml")
    ] = None,
    policy: Annotated[str | None, typer.Option(help="A policy file instead of the job's.", metavar="P.yaml")] = None,
    run_dir: Annotated[
        str | None,
        typer.Option(help="Where both runs go; without it the job's run directory and `-rehearsal`.", metavar="DIR"),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="A finished run of the same job without faults, to compare with.", metavar="RUN_DIR"),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Where the schedule ends, instead of the job's.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Set one value, as in `run`. May be repeated.", metavar="a.b=VALUE"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The score as one JSON object, for machines.")] = False,
) -> None:
    """Run a job with injected faults and score how its policy recovers them.

    First the job without faults (DIR/reference), then with them (DIR/rehearsal); DIR/rehearsal/score.json gets the
    score.

    Exit codes: as `run`, of the run with the faults.
    """
    resolved = load_job(job, overrides=overrides or (), policy=policy, run_dir=run_dir, steps=steps)
    if run_dir is None:
        directory = f"{resolved.job.run_dir}-rehearsal"
        resolved = load_job(job, overrides=overrides or (), policy=policy, run_dir=directory, steps=steps)
    rehearsal = Rehearsal(resolved, faults, reference)
    with output_on_stderr() if as_json else contextlib.nullcontext():
        code, score = rehearsal.run(lambda text: typer.echo(f"\n{text}"))
    with reader_may_leave():
        if score is not None and as_json:
            typer.echo(score.model_dump_json(indent=2))
        elif score is not None:
            typer.echo()
            console = Console(highlight=False)
            # A pipe has no width of its own: the table is made to fit without breaking words.
            console.width = max(console.width, TABLE_WIDTH) if not console.is_terminal else console.width
            console.print(render_score(score))
    raise typer.Exit(code)
