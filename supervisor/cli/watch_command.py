"""`supervisor watch`: the live view of a run that was started elsewhere."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["watch"]


def watch(
    run_dir: Annotated[str, typer.Argument(help="The run directory.", metavar="RUN_DIR", show_default=False)],
) -> None:
    """The live view of a run that was started elsewhere, until it has ended or Ctrl-C.

    Drawn from its directory alone, so that a copy, a shared folder or a dead run can be looked at too; the run itself
    is never touched. From the top: what it is at, how far it has got, the loss over all steps with a mark below it for
    each incident and each death of its worker, its pace, and its ladder with the rung in use. Lines about what goes
    wrong stand above. In a pipe (or with TERM=dumb) each step and each incident is a line, as `supervisor run` prints
    them there.

    Exit codes: 0 the run has ended, or nothing runs it any more; 2 there is no run in RUN_DIR; 130 Ctrl-C.
    """
    from pathlib import Path

    from supervisor.cli.output import reader_may_leave
    from supervisor.live.watching import watch_run

    with reader_may_leave():
        watch_run(Path(run_dir))
