"""The trainer of a run, built anew, with the model of one of its checkpoints in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from supervisor.checkpoints import CheckpointStore
from supervisor.errors import CheckpointError, InputError
from supervisor.job import ResolvedJob, load_job
from supervisor.process.checkpoint_choice import Choice, choose
from supervisor.process.place import go_to_place
from supervisor.process.shadowing import refuse_shadows
from supervisor.process.trainer_loading import ready_trainer
from supervisor.run_layout import RunLayout
from supervisor.saved import Manifest
from supervisor.saved.verification import MANIFEST_FILE
from supervisor.training.device import choose_device
from supervisor.training.modules import named_modules, named_parameters, parameter_names
from supervisor.training.optimizer_state import groups_by_name, restore_optimizer
from supervisor.training.optimizers import chained
from supervisor.training.state import Subject, VolatileState
from supervisor.training.trainer import Stateful, Trainer

__all__ = ["RunTrainer", "SavedModel", "load_saved_model", "trainer_of"]

TRIES = 3
"""A run that goes on may remove a checkpoint while it is being read; then the choice is made anew."""


@dataclass(frozen=True, slots=True)
class RunTrainer:
    """The trainer of a run directory, as its job builds it.

    Attributes:
        trainer: the trainer, its model on the device.
        subject: what a state is put back into; the schedule aside.
        device: where it is.
    """

    trainer: Trainer
    subject: Subject
    device: torch.device


@dataclass(frozen=True, slots=True)
class SavedModel:
    """A trainer whose model, and whatever of its own it has registered, is that of a checkpoint.

    Attributes:
        trainer: the trainer.
        choice: which checkpoint, and why.
        manifest: the checkpoint's.
        resolved: the job.
    """

    trainer: Trainer
    choice: Choice
    manifest: Manifest
    resolved: ResolvedJob

    @property
    def told(self) -> str:
        """Which checkpoint it is, for people."""
        return f"step {self.manifest.step} ({self.choice.which}), {self.choice.path.name}"


def trainer_of(resolved: ResolvedJob) -> RunTrainer:
    """Build the trainer of a job.

    Raises:
        InputError: the job, its trainer or its device is wrong.
    """
    device = choose_device(resolved.job.device)
    # Before the working directory comes onto the import path.
    refuse_shadows(Path.cwd())
    trainer = ready_trainer(resolved.job, resolved.origins, device)
    optimizer = chained(trainer.optimizer)
    extra = {"trainer": trainer} if isinstance(trainer, Stateful) else {}
    names = parameter_names(trainer.model, optimizer)
    return RunTrainer(
        trainer, Subject(trainer.model, optimizer, None, getattr(trainer, "scaler", None), extra, names), device
    )


def load_saved_model(run_dir: Path, wanted: str | None) -> SavedModel:
    """Build the trainer of a run and put the model of a checkpoint into it; the run directory is only read.

    The working directory is the run's from then on.

    The generators are put to where they were, too, so that an evaluation that draws gives what it gave amid the run.

    Args:
        run_dir: the run directory; a run may be going on in it.
        wanted: see `choose`.

    Raises:
        InputError: there is no such checkpoint, it is damaged, or it is of another training.
    """
    resolved = load_job(str(RunLayout(run_dir).job))
    choice, manifest, tree = _read(run_dir, wanted, resolved)
    go_to_place(RunLayout(run_dir), str(run_dir))
    built = trainer_of(resolved)
    try:
        _put_into(built, tree["moment"]["training"])
    except (KeyError, TypeError) as error:
        raise InputError(f"{choice.path}: is no checkpoint of a run ({error})") from error
    except InputError as error:
        raise InputError(f"{choice.path}: is of another training: {error}") from error
    return SavedModel(built.trainer, choice, manifest, resolved)


def _read(run_dir: Path, wanted: str | None, resolved: ResolvedJob) -> tuple[Choice, Manifest, Mapping[str, Any]]:
    for attempt in range(1, TRIES + 1):
        choice = choose(run_dir, wanted, resolved.job.keep_best)
        try:
            tree = CheckpointStore(choice.path.parent, "").load(choice.path)
            # It was verified with the rest.
            return choice, Manifest.model_validate_json((choice.path / MANIFEST_FILE).read_bytes()), tree
        except (CheckpointError, OSError) as error:
            if choice.path.exists() or attempt == TRIES:
                mend = "choose another one with --checkpoint"
                raise InputError(f"{choice.path.parent}: {error}: the checkpoint is damaged: {mend}") from error
    raise AssertionError


def _put_into(built: RunTrainer, state: Mapping[str, Any]) -> None:
    """Put parameters, buffers, registered state and generators in; schedules stay as built.

    So do optimizers, unless the trainer averages its weights: the averages may be kept in what an optimizer holds.
    """
    model, subject = built.trainer.model, built.subject
    saved, known = state["parameters"], named_parameters(model)
    # Those of the optimizer alone have a number for a name.
    surplus = [name for name in saved if name not in known and "param_groups." not in name]
    if surplus:
        raise InputError(f"it has a parameter {surplus[0]} that the model lacks")
    with torch.no_grad():
        for name, parameter in known.items():
            if name not in saved:
                raise InputError(f"it has no parameter {name}")
            if saved[name].shape != parameter.shape:
                raise InputError(f"{name} has shape {tuple(saved[name].shape)}, not {tuple(parameter.shape)}")
            parameter.copy_(saved[name])
    modules = dict(named_modules(model))
    astray = [name for name in state["buffers"] if name.rpartition(".")[0] not in modules]
    if astray:
        raise InputError(f"it has a buffer {astray[0]} of a module that the model lacks")
    if not subject.extra.keys() <= state["extra"].keys():
        raise InputError("it has no state of the trainer's own, which takes one (load_state_dict)")
    modes = tuple(module.training for _, module in named_modules(model))
    volatile = VolatileState(state["buffers"], state["module_extra"], state["extra"], state["rng"], modes)
    subject.restore_volatile(volatile)
    if callable(getattr(built.trainer, "averaged_weights", None)):
        _put_optimizer_into(subject, state["optimizer"])


def _put_optimizer_into(subject: Subject, saved: Mapping[str, Any]) -> None:
    """Put an optimizer's state in, and the options of the groups that it has: one may have been added amid the run."""
    built = groups_by_name(subject.optimizer.param_groups, subject.names)
    groups = groups_by_name(saved["groups"], subject.names)
    known = [group for name, group in groups.items() if name in built]
    restore_optimizer(subject.optimizer, subject.names, {"state": saved["state"], "groups": known})
