"""`supervisor resume`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

__all__ = ["AFTER_HALT", "AfterHalt", "resume"]

AFTER_HALT = "--after-halt"

AfterHalt = Annotated[
    bool,
    typer.Option(
        AFTER_HALT,
        help="What the run was halted for is mended: go on with a fresh ladder, no cuts of the learning rate and a "
        "fresh restart budget.",
    ),
]


def resume(
    run_dir: Annotated[str, typer.Argument(help="The run directory.", metavar="RUN_DIR", show_default=False)],
    after_halt: AfterHalt = False,
    steps: Annotated[int | None, typer.Option(help="Where the schedule ends, instead of the run's.")] = None,
    policy: Annotated[str | None, typer.Option(help="A policy file instead of the run's.", metavar="P.yaml")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Set one value, as in `run`. May be repeated.", metavar="a.b=VALUE"),
    ] = None,
) -> None:
    """Go on with a run as it was started: with its job, its policy, its flags, and in its working directory.

    Exit codes: as `run`.
    """
    from supervisor.process.parent import Parent
    from supervisor.process.place import place_of
    from supervisor.process.run_again import job_of_run
    from supervisor.run_layout import RunLayout

    # Read before the working directory is another one: paths are relative to where the user is.
    resolved = job_of_run(run_dir, overrides=overrides or (), policy=policy, steps=steps)
    place = place_of(RunLayout(resolved.run_dir), run_dir)
    if place is not None:
        os.chdir(place)
    raise typer.Exit(Parent(resolved, resume=True, after_halt=after_halt).run())
