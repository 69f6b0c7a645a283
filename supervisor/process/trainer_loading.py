"""From `module:Class` and a mapping to a trainer, with every mistake of the user's told as one."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import torch
from pydantic import BaseModel, ValidationError

from supervisor.config.fixes import problems_of, shown
from supervisor.config.origins import Origins, refuse
from supervisor.errors import InputError, said_by
from supervisor.job import Job
from supervisor.process.shadowing import library_file
from supervisor.training.device import optimizer_to
from supervisor.training.optimizers import chained
from supervisor.training.rng import seed_everything
from supervisor.training.trainer import Trainer

__all__ = ["build_trainer", "find_trainer", "ready_trainer", "takes_steps"]

REQUIRED = ("model", "optimizer", "data", "loss")


def ready_trainer(job: Job, origins: Origins, device: torch.device) -> Trainer:
    """The trainer of a job, built under its seed and threads, with its model and its optimizer's state on `device`.

    Raises:
        InputError: as `find_trainer` and `build_trainer`.
    """
    if job.cpu_threads:
        torch.set_num_threads(job.cpu_threads)
    kind = find_trainer(job.trainer, origins)
    seed_everything(job.seed)
    trainer = build_trainer(kind, job.config, job.seed, origins, job.steps)
    trainer.model.to(device)
    optimizer_to(chained(trainer.optimizer), device)
    return trainer


def find_trainer(name: str, origins: Origins) -> type[Trainer]:
    """Import the trainer's class; the working directory is looked in first.

    Args:
        name: `module:Class`.
        origins: where the name was written.

    Raises:
        InputError: the module cannot be imported, or has no such class, or it has no `from_config`.
    """
    here = str(Path.cwd())
    if sys.path[:1] not in ([""], [here]):
        sys.path.insert(0, here)
    module_name, _, class_name = name.partition(":")
    module = _import(module_name, origins)
    found: Any = module
    for part in class_name.split("."):
        if not hasattr(found, part):
            mend = f"write one of its classes: {', '.join(_classes(module)) or 'it has none'}"
            raise _mistake(origins, f"{module_name} has no {class_name}", mend)
        found = getattr(found, part)
    if not callable(getattr(found, "from_config", None)):
        mend = "give it a classmethod from_config(config, *, seed)"
        raise _mistake(origins, f"{class_name} has no from_config", mend)
    return cast("type[Trainer]", found)


def takes_steps(kind: type[Trainer]) -> bool:
    """Whether `from_config` takes a parameter named `steps`, to build its schedule for."""
    try:
        taken = inspect.signature(kind.from_config).parameters.get("steps")
    except (TypeError, ValueError):
        # A function without a signature, as one written in C.
        return False
    return taken is not None and taken.kind in (taken.POSITIONAL_OR_KEYWORD, taken.KEYWORD_ONLY)


def build_trainer(
    kind: type[Trainer], config: dict[Any, Any], seed: int, origins: Origins, steps: int | None = None
) -> Trainer:
    """Call `from_config` and check that what comes back is a trainer.

    Args:
        kind: its class.
        config: handed to it.
        seed: likewise.
        origins: where each value of the job was written.
        steps: where the schedule ends; handed over too where `from_config` takes a parameter of that name.

    Raises:
        InputError: the config does not validate, or the trainer lacks a part. Anything else that `from_config`
            raises is left as it is.
    """
    try:
        more = {"steps": steps} if steps is not None and takes_steps(kind) else {}
        trainer = kind.from_config(config, seed=seed, **more)
    except ValidationError as error:
        model = vars(sys.modules[kind.__module__]).get(error.title)
        known = model if isinstance(model, type) and issubclass(model, BaseModel) else BaseModel
        refuse(problems_of(error, known, config, origins.below(("config",)), prefix=("config",)))
        raise
    missing = [part for part in REQUIRED if not hasattr(trainer, part)]
    if missing:
        what = f"{kind.__name__} has no {', '.join(missing)}"
        raise _mistake(origins, what, f"a trainer needs {', '.join(REQUIRED)}")
    interval = getattr(trainer, "scheduler_interval", None)
    if interval not in (None, "step", "epoch"):
        what = f"{kind.__name__}.scheduler_interval is {shown(interval)}"
        raise _mistake(
            origins, what, 'make it "step" or "epoch", or leave it out (a scheduler steps with every update)'
        )
    return trainer


def _mistake(origins: Origins, what: str, mend: str) -> InputError:
    return InputError(str(origins.problem(("trainer",), what, mend)))


def _import(name: str, origins: Origins) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name == missing or name.startswith(f"{missing}."):
            mend = "write `module:Class` of a module in the working directory or an installed package"
            raise _mistake(origins, f"there is no module {missing}", mend) from error
        what, mend = f"{name} needs the module {missing}, which is not there", f"install {missing}"
        raise _mistake(origins, what, mend) from error
    except Exception as error:
        # Whatever a module of the user's raises, it cannot be trained with.
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = (error.filename, error.lineno) if isinstance(error, SyntaxError) else (last.filename, last.lineno)
        what = f"{name} cannot be imported ({said_by(error)}; {where[0]}:{where[1]})"
        file = library_file(Path.cwd())
        mend = f"rename {file}, which stands in the way of the standard library" if file else "mend the module"
        raise _mistake(origins, what, mend) from error


def _classes(module: ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__ and not name.startswith("_")
    ][:8]
