"""The `supervisor` command.

What a command needs is imported when it is called: a look at a run is not to wait for what trains one.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from supervisor.cli.checkpoint_commands import evaluate, export
from supervisor.cli.explain_command import explain
from supervisor.cli.init_command import init
from supervisor.cli.output import console_for_tables, output_on_stderr, print_json, print_text, reader_may_leave
from supervisor.cli.policy_commands import policy_app
from supervisor.cli.preflight_command import preflight
from supervisor.cli.report_command import report
from supervisor.cli.resume_command import AFTER_HALT, AfterHalt
from supervisor.cli.resume_command import resume as resume_run
from supervisor.cli.runs_command import runs
from supervisor.cli.watch_command import watch
from supervisor.errors import ExitCode, InputError
from supervisor.streams import leave_streams, reader_has_left, ready_streams, tell
from supervisor.version import __version__

__all__ = ["app", "main", "rehearse"]

app = typer.Typer(
    name="supervisor",
    help="Runs PyTorch training jobs, notices NaN, Inf and worse before they do harm, and recovers.",
    epilog="Start here: supervisor init DIR",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(policy_app, name="policy")
app.command()(init)
app.command(name="resume")(resume_run)
app.command()(preflight)
app.command()(evaluate)
app.command()(export)
app.command()(runs)
app.command()(explain)
app.command()(watch)
app.command()(report)


def _print_version(wanted: bool) -> None:
    if wanted:
        print_text(f"supervisor {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


JobFile = Annotated[str, typer.Argument(help="The job file.", metavar="JOB.yaml", show_default=False)]
PolicyFile = Annotated[str | None, typer.Option(help="A policy file instead of the job's.", metavar="P.yaml")]
Steps = Annotated[int | None, typer.Option(help="Where the schedule ends, instead of the job's.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for machines.")]
RunDir = Annotated[str, typer.Argument(help="The run directory.", metavar="RUN_DIR", show_default=False)]


@app.command()
def run(
    job: JobFile,
    policy: PolicyFile = None,
    run_dir: Annotated[str | None, typer.Option(help="Run directory instead of the job's.", metavar="DIR")] = None,
    steps: Steps = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that the run directory holds, bit for bit.")
    ] = False,
    auto_resume: Annotated[
        bool,
        typer.Option(
            "--auto-resume",
            help="Start the run, or go on with the one in the run directory: for a requeue, a pod or a cron line.",
        ),
    ] = False,
    after_halt: AfterHalt = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Set one value: config.learning_rate=1e-3 in the job, policy.cooldown_steps=5 in the policy. "
            "May be repeated.",
            metavar="a.b=VALUE",
        ),
    ] = None,
) -> None:
    """Run a job under supervision.

    The run directory gets the job and the policy as resolved, the event log, the checkpoints and the incidents.

    Exit codes: 0 finished, 2 bad input, 3 halted by the policy, 4 restart budget spent, 5 ended, but its last state
    could not be written, 75 interrupted after a checkpoint.
    """
    from supervisor.job import load_job
    from supervisor.process.parent import Parent

    resolved = load_job(job, overrides=overrides or (), policy=policy, run_dir=run_dir, steps=steps)
    if after_halt and not (resume or auto_resume):
        raise InputError(f"{AFTER_HALT}: goes with --resume or --auto-resume: a new run has no halt behind it")
    code = Parent(resolved, resume=resume, auto_resume=auto_resume, after_halt=after_halt).run()
    if sys.stdout is sys.__stdout__:
        # Not what somebody who calls this command has put in its place.
        leave_streams()
    raise typer.Exit(code)


@app.command()
def status(
    run_dir: RunDir,
    as_json: AsJson = False,
    healthy: Annotated[
        bool, typer.Option("--healthy", help="For probes: exit 0 if it has finished, or runs and gives signs of life.")
    ] = False,
    max_age: Annotated[
        float | None,
        typer.Option(
            help="With --healthy: how old its last sign of life may be, in seconds; without it, as its policy allows.",
            metavar="SECONDS",
            min=0,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Where a run stands: step, loss, rung, learning-rate scale, incidents, goodput.

    With --healthy the exit code is 0 where it has finished, or runs with a heartbeat that is young enough, else 1.
    """
    from supervisor.events.safe_console import SafeConsole
    from supervisor.report.liveness import is_healthy
    from supervisor.report.status import read_status
    from supervisor.report.tables import render_status
    from supervisor.run_layout import RunLayout

    if max_age is not None and not healthy:
        raise InputError("--max-age: is about --healthy: add it")
    try:
        found = read_status(Path(run_dir))
    except InputError as error:
        if not healthy:
            raise
        # A probe asks one thing alone; there may be no run yet.
        tell(str(error))
        raise typer.Exit(1) from None
    with reader_may_leave():
        if as_json:
            print_json(found.model_dump_json(indent=2))
        elif healthy:
            print_text(found.state if found.reason is None else f"{found.state}: {found.reason}")
        else:
            SafeConsole(highlight=False).print(render_status(found))
    if healthy and not is_healthy(found, RunLayout(Path(run_dir)), max_age):
        raise typer.Exit(1)


@app.command()
def events(
    run_dir: RunDir,
    follow_on: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The lines as they are in the log.")] = False,
    event: Annotated[
        str | None, typer.Option(help="Only events of this name, as in --event decision.", metavar="NAME")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also the lines of stretches that were done again after a resume.")
    ] = False,
) -> None:
    """The event log: all files merged and in order.

    Left out without --all: lines that a later resume made void, since their steps were done again.
    """
    from supervisor.events import follow, read_events, schema
    from supervisor.events.narration import describe_event

    if event is not None and (mend := schema.no_such_event(event)) is not None:
        raise InputError(f"--event {event}: there is no event of this name: {mend}")
    if follow_on and everything:
        raise InputError("--all: is about what is past: leave out --follow")
    if follow_on:
        source = follow(Path(run_dir), stop=reader_has_left)
    else:
        source = read_events(Path(run_dir), named=event, with_void=everything)
    with reader_may_leave():
        for each in source:
            if event is not None and each.event != event:
                continue
            if as_json:
                print_json(each.model_dump_json(by_alias=True))
            else:
                print_text(describe_event(each))


@app.command()
def replay(
    run_dir: RunDir,
    policy: Annotated[str, typer.Option(help="The policy to decide by.", metavar="P.yaml", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """The findings of a run through another policy, side by side with what was decided.

    Nothing is trained. Another `detect` needs every observation: set `observations: true` in the job beforehand.
    """
    from supervisor.replay import plain_replay, render_replay, replay_run

    replayed = replay_run(run_dir, policy)
    with reader_may_leave():
        if as_json:
            print_json(json.dumps(plain_replay(replayed), indent=2))
        else:
            console_for_tables().print(render_replay(replayed, policy))


@app.command()
def rehearse(
    job: JobFile,
    faults: Annotated[
        str | None, typer.Option(help="What goes wrong; without it the job's own `faults`.", metavar="F.yaml")
    ] = None,
    policy: PolicyFile = None,
    run_dir: Annotated[
        str | None,
        typer.Option(help="Where both runs go; without it the job's run directory and `-rehearsal`.", metavar="DIR"),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="A finished run of the same job without faults, to compare with.", metavar="RUN_DIR"),
    ] = None,
    steps: Steps = None,
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
    from supervisor.job import load_job
    from supervisor.rehearsal import Rehearsal, render_score

    resolved = load_job(job, overrides=overrides or (), policy=policy, run_dir=run_dir, steps=steps)
    if run_dir is None:
        directory = f"{resolved.job.run_dir}-rehearsal"
        resolved = load_job(job, overrides=overrides or (), policy=policy, run_dir=directory, steps=steps)
    rehearsal = Rehearsal(resolved, faults, reference)
    with output_on_stderr() if as_json else contextlib.nullcontext():
        code, score = rehearsal.run(lambda text: print_text(f"\n{text}"))
    with reader_may_leave():
        if score is not None and as_json:
            print_json(score.model_dump_json(indent=2))
        elif score is not None:
            print_text("")
            console_for_tables().print(render_score(score))
    raise typer.Exit(code)


def main() -> None:
    """Run the command line; a mistake of the user's ends in one line and exit code 2."""
    ready_streams()
    try:
        app()
    except InputError as error:
        tell(str(error))
        raise SystemExit(ExitCode.BAD_INPUT) from None
    except KeyboardInterrupt:
        raise SystemExit(128 + 2) from None
    except OSError as error:
        # A full disk behind the standard output is nobody's mistake here, and its traceback helps nobody.
        tell(f"supervisor: {error.strerror or error}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(ExitCode.BUG) from None


if __name__ == "__main__":
    main()
