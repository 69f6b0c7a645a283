"""Where the fresh process begins that runs the flagged step of an incident again."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from supervisor.diagnosis import Origin, Rerun, load_bundle_file, rerun
from supervisor.errors import ExitCode, InputError, text_of
from supervisor.events.base import nonfinite_as_word
from supervisor.events.incident_file import BATCH_FILE, STATE_FILE, IncidentFile
from supervisor.job import load_job
from supervisor.process.place import go_to_place
from supervisor.process.saved_model import trainer_of
from supervisor.run_layout import INCIDENT_FILE, RunLayout
from supervisor.streams import end, ready_streams, tell
from supervisor.training.device import batch_to
from supervisor.update import UpdateSettings

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Build the trainer of a run directory and run the step of an incident's folder: `RUN_DIR FOLDER [--json]`."""
    ready_streams()
    run_dir, folder = Path(arguments[0]).absolute(), Path(arguments[1]).absolute()
    try:
        go_to_place(RunLayout(run_dir), arguments[0])
        found = _rerun(run_dir, folder)
        record = IncidentFile.model_validate_json((folder / INCIDENT_FILE).read_bytes())
    except (InputError, OSError, KeyError, RuntimeError) as error:
        tell(f"{arguments[1]}: {text_of(error)}")
        return ExitCode.BAD_INPUT
    if "--json" in arguments:
        plain = {name: _plain(value) for name, value in asdict(found).items()}
        shown = json.dumps({**plain, "healthy": found.healthy}, indent=2, allow_nan=False)
    else:
        shown = "\n".join(_lines(found, record))
    tell(shown, "stdout")
    return ExitCode.FINISHED


def _rerun(run_dir: Path, folder: Path) -> Rerun:
    built = trainer_of(load_job(str(RunLayout(run_dir).job)))
    trainer, device = built.trainer, built.device
    state, batches = load_bundle_file(folder / STATE_FILE), load_bundle_file(folder / BATCH_FILE)
    settings = UpdateSettings(sanitized=getattr(trainer, "sanitized", None))
    return rerun(built.subject, settings, lambda batch: trainer.loss(batch_to(batch, device)), state, batches)


def _lines(found: Rerun, record: IncidentFile) -> list[str]:
    loss, norm = nonfinite_as_word(found.loss), nonfinite_as_word(found.grad_norm)
    lines = [f"step {record.opened_at_step} again, from the state before it: loss {loss}, gradient norm {norm}"]
    if found.exception is not None:
        lines.append(f"it raised {found.exception}")
    for number, samples in enumerate(found.bad_samples):
        if samples:
            lines.append(f"batch {number} of the update: not all values are finite in sample {_some(samples)}")
    if found.bad_parameters:
        lines.append(f"not finite before the step: {_some(found.bad_parameters)}")
    if found.bad_buffers:
        lines.append(f"buffers that the forward pass has spoilt: {_some(found.bad_buffers)}")
    if found.sanitized:
        lines.append(f"values that the model has replaced: {found.sanitized}")
    if found.forward is not None:
        lines.append(f"first bad tensor: made in {_place(found.forward)}")
    elif found.surfaced is not None:
        lines.append(f"first bad tensor: the output of {found.surfaced or 'the model'}, whose inputs were bad already")
    elif found.backward is not None:
        lines.append(f"first bad tensor: a gradient, made in {_place(found.backward)}")
    if found.bad_gradients:
        lines.append(f"gradients that are not finite: {_some(found.bad_gradients)}")
    elif found.largest:
        lines.append("largest gradients: " + ", ".join(f"{name} {value:.3g}" for name, value in found.largest))
    if found.healthy:
        lines.append("nothing that is not finite was met this time")
    if record.cause is not None:
        lines.append(f"on record: {record.cause.kind}: {record.cause.explanation}")
    return lines


def _place(origin: Origin) -> str:
    module = "the loss function" if origin.module is None else origin.module or "the model itself"
    by = f", by {origin.operation}" if origin.operation else ""
    return f"{module}{by}{f' at {origin.where}' if origin.where else ''}{f': {origin.detail}' if origin.detail else ''}"


def _some(names: tuple[Any, ...]) -> str:
    shown = ", ".join(str(name) for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return nonfinite_as_word(value)


if __name__ == "__main__":
    end(main(sys.argv[1:]))
