"""Where the fresh process begins that has a trainer evaluate a checkpoint."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path

from supervisor.errors import ExitCode, InputError, said_by, traceback_of
from supervisor.events.base import nonfinite_as_word
from supervisor.process.saved_model import SavedModel, load_saved_model
from supervisor.record.metrics import metrics_in
from supervisor.streams import end, ready_streams, tell
from supervisor.training.user_code import from_users_frame

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Evaluate a checkpoint of a run: `RUN_DIR [--checkpoint WHICH] [--json]`; the exit code."""
    ready_streams()
    parser = argparse.ArgumentParser()
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--checkpoint")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    # What the trainer prints is not what a machine reads.
    quiet = contextlib.redirect_stdout(sys.stderr) if given.json else contextlib.nullcontext()
    try:
        with quiet:
            saved = load_saved_model(given.run_dir, given.checkpoint)
            evaluate = getattr(saved.trainer, "evaluate", None)
            if not callable(evaluate):
                kind = type(saved.trainer).__name__
                raise InputError(f"trainer: {kind} has no evaluate: give it evaluate() -> dict[str, float]")
            began = time.monotonic()
            metrics, left_out = metrics_in(evaluate())
    except InputError as error:
        tell(str(error))
        return ExitCode.BAD_INPUT
    except (Exception, SystemExit) as error:  # noqa: BLE001  (the user's trainer may raise anything)
        tell(f"{traceback_of(from_users_frame(error))}the evaluation failed: {said_by(error)}")
        return ExitCode.BAD_INPUT
    for line in left_out:
        tell(line)
    tell(_shown(saved, metrics, time.monotonic() - began, as_json=given.json), "stdout")
    return ExitCode.FINISHED


def _shown(saved: SavedModel, metrics: dict[str, float], seconds: float, *, as_json: bool) -> str:
    if as_json:
        told = {
            "run_id": saved.manifest.run_id,
            "checkpoint": str(saved.choice.path),
            "which": saved.choice.which,
            "step": saved.manifest.step,
            "update": saved.manifest.update,
            "metrics": {name: nonfinite_as_word(value) for name, value in metrics.items()},
            "seconds": seconds,
        }
        return json.dumps(told, indent=2, allow_nan=False)
    width = max((len(name) for name in metrics), default=0)
    lines = [f"{name:<{width}}  {value:.6g}" for name, value in metrics.items()]
    return "\n".join([f"checkpoint of {saved.told}: evaluated in {seconds:.3g} s", *lines])


if __name__ == "__main__":
    end(main(sys.argv[1:]))
