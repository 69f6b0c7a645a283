"""`supervisor evaluate | export`: what can be done with the checkpoints of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["evaluate", "export"]

RunDir = Annotated[str, typer.Argument(help="The run directory.", metavar="RUN_DIR", show_default=False)]
Checkpoint = Annotated[
    str | None,
    typer.Option(
        help="best (by the job's keep_best), good (the newest good one), last (the newest, good or not), or a folder, "
        "as step-00000200; without it the best where there is one, else the newest good one.",
        metavar="best|good|last|PATH",
    ),
]


def evaluate(
    run_dir: RunDir,
    checkpoint: Checkpoint = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for machines.")] = False,
) -> None:
    """Run the trainer's evaluate() on a checkpoint and print its metrics.

    The trainer is built from RUN_DIR/job.yaml in a process of its own, from the folder in which the run was started.
    The run directory is only read, so that the run may be going on meanwhile.

    Exit codes: 0 evaluated, 2 nothing there to evaluate, a damaged checkpoint, or a trainer that raises.
    """
    from supervisor.process.checkpoint_commands import evaluate_checkpoint

    raise typer.Exit(evaluate_checkpoint(Path(run_dir), checkpoint, as_json=as_json))


def export(
    run_dir: RunDir,
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", help="What to write: FILE.safetensors or FILE.pt.", metavar="FILE", show_default=False
        ),
    ],
    checkpoint: Checkpoint = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it stands there already.")] = False,
) -> None:
    """Write the model of a checkpoint into a file of its own: its state_dict, by qualified name.

    To load it: model.load_state_dict(safetensors.torch.load_file(FILE)), or torch.load(FILE, weights_only=True) of a
    .pt. The step, the run and the trainer stand in the file's metadata. docs/evaluation.md has an example.

    Exit codes: 0 written, 2 no such checkpoint, a damaged one, or a file that cannot be written.
    """
    from supervisor.process.checkpoint_commands import export_checkpoint

    raise typer.Exit(export_checkpoint(Path(run_dir), checkpoint, Path(output), force=force))
