"""Where the fresh process begins that writes the model of a checkpoint into a file of its own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from supervisor.errors import ExitCode, InputError, said_by, traceback_of
from supervisor.process.checkpoint_commands import refuse_output
from supervisor.process.exporting import put_averages_into, tensors_of, write_model
from supervisor.process.saved_model import load_saved_model
from supervisor.streams import end, ready_streams, tell
from supervisor.training.user_code import from_users_frame

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Export a checkpoint of a run: `RUN_DIR FILE [--checkpoint WHICH] [--force]`; the exit code."""
    ready_streams()
    parser = argparse.ArgumentParser()
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--checkpoint")
    parser.add_argument("--force", action="store_true")
    given = parser.parse_args(arguments)
    try:
        _export(given.run_dir, given.output, given.checkpoint, force=given.force)
    except InputError as error:
        tell(str(error))
        return ExitCode.BAD_INPUT
    except OSError as error:
        tell(f"-o {given.output}: cannot be written ({error.strerror or error}): choose another place")
        return ExitCode.BAD_INPUT
    except (Exception, SystemExit) as error:  # noqa: BLE001  (the user's trainer may raise anything as it is built)
        tell(f"{traceback_of(from_users_frame(error))}the export failed: {said_by(error)}")
        return ExitCode.BAD_INPUT
    return ExitCode.FINISHED


def _export(run_dir: Path, output: Path, wanted: str | None, *, force: bool) -> None:
    file = output.absolute()
    saved = load_saved_model(run_dir, wanted)
    averaged_weights = getattr(saved.trainer, "averaged_weights", None)
    averages = averaged_weights() if callable(averaged_weights) else None
    if averages:
        put_averages_into(saved.trainer.model, averages)
    tensors, left_out = tensors_of(saved.trainer.model)
    about = {
        "step": str(saved.manifest.step),
        "run_id": saved.manifest.run_id,
        "trainer": saved.resolved.job.trainer,
        "checkpoint": saved.choice.path.name,
        "weights": "averaged" if averages else "trained",
    }
    # Another may have written it meanwhile.
    refuse_output(file, force=force, shown=output)
    write_model(file, tensors, about)
    if left_out:
        tell(f"left out, for it is no tensor: {', '.join(left_out)}")
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    kind = "averaged weights, " if averages else ""
    tell(f"{output}: {len(tensors)} tensors, {size:,} bytes, {kind}of the checkpoint of {saved.told}", "stdout")


if __name__ == "__main__":
    end(main(sys.argv[1:]))
