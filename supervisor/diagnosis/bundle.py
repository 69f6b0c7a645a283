"""The files that let a flagged step be run again elsewhere: `batch.pt` and `state.pt` beside `incident.json`.

Both load with `torch.load(path, weights_only=True)`. `batch.pt` holds a list, the batches of the update, with
dictionaries in the place of dataclasses and tuples in that of named tuples. `state.pt` is a dictionary: `schema` (1),
`step`, `update`, `update_applied`, `parameters`, `buffers`, `module_extra`, `extra`, `rng` (as
`supervisor.training.rng.capture_rng`), `training_modes` (by module), `scaler`, `batch_kinds` (the classes that were
replaced, by where in the list), and `optimizer` where it fits.
"""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import Any

import torch

from supervisor.errors import text_of
from supervisor.events.incident_file import BATCH_FILE, STATE_FILE
from supervisor.records import Bundle
from supervisor.run_layout import replace_file_with
from supervisor.training.modules import named_modules
from supervisor.training.optimizer_state import captured_groups, state_by_name
from supervisor.training.state import Subject
from supervisor.training.tree import mapped, plain, tensors
from supervisor.training.unfolding import unfolded
from supervisor.update import Attempt

__all__ = ["load_bundle_file", "remove_bundle", "write_bundle"]

SCHEMA = 1


def write_bundle(folder: Path, attempt: Attempt, subject: Subject, *, most_bytes: int) -> Bundle:
    """Write the bundle of one update, as much of it as fits: the batch, then the state, then the optimizer's state.

    A disk that refuses and values that cannot be written without pickling are said in the note.

    Args:
        folder: the incident's.
        attempt: the update.
        subject: the training objects.
        most_bytes: what all tensors together may take.
    """
    before = attempt.before
    notes: list[str] = []
    left = most_bytes
    written: dict[str, str | None] = {BATCH_FILE: None, STATE_FILE: None}
    modes = {name: mode for (name, _), mode in zip(named_modules(subject.model), before.training_modes, strict=False)}
    kinds: dict[str, str] = {}
    batches = unfolded(list(attempt.batches), kinds)
    state: dict[str, Any] = {
        "schema": SCHEMA,
        "step": attempt.place.step,
        "update": attempt.place.update,
        "update_applied": not attempt.undone,
        "parameters": {name: parameter.detach() for parameter, name in subject.names.items()},
        **{name: getattr(before, name) for name in ("buffers", "module_extra", "extra", "rng")},
        "training_modes": modes,
        "scaler": attempt.scaler_before,
        "batch_kinds": kinds,
    }
    contents: list[tuple[str, Any]] = [(BATCH_FILE, batches), (STATE_FILE, state)]
    for name, content in contents:
        try:
            tree = plain(content, name)
            size = _bytes(tree)
            if size > left:
                notes.append(f"{name} would take {_mb(size)}, more than the {_mb(left)} left for it")
                continue
            left -= size
            if name == STATE_FILE:
                left = _add_optimizer(tree, subject, left, notes)
            replace_file_with(folder / name, partial(torch.save, _compact(tree)))
            written[name] = name
        except (OSError, TypeError, RuntimeError) as error:
            notes.append(f"{name}: {text_of(error)}")
    return Bundle(
        batch=written[BATCH_FILE],
        state=written[STATE_FILE],
        update_applied=not attempt.undone,
        note="; ".join(notes) or None,
    )


def remove_bundle(folder: Path) -> None:
    """Remove the bundle of an incident, where it has one; its record stays."""
    for name in (BATCH_FILE, STATE_FILE):
        # Where a disk refuses, the files cost space and nothing else.
        with contextlib.suppress(OSError):
            (folder / name).unlink(missing_ok=True)


def load_bundle_file(path: Path) -> Any:
    """What a file of a bundle holds; nothing pickled is executed."""
    return torch.load(path, weights_only=True, map_location="cpu")


def _add_optimizer(tree: dict[str, Any], subject: Subject, left: int, notes: list[str]) -> int:
    size = _bytes(list(subject.optimizer.state.values()))
    if size > left:
        notes.append(f"the optimizer's state would take {_mb(size)}, more than the {_mb(left)} left for it")
        return left
    tree["optimizer"] = plain(
        {
            "state": state_by_name(subject.optimizer, subject.names),
            "groups": captured_groups(subject.optimizer, subject.names),
        },
        "optimizer",
    )
    return left - size


def _bytes(tree: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for _, tensor in tensors(tree))


def _compact(tree: Any) -> Any:
    """The tree with tensors of their own on the CPU: a slice would be written with all that it is a slice of."""
    return mapped(tree, lambda tensor: tensor.cpu() if tensor.device.type != "cpu" else tensor.clone())


def _mb(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
