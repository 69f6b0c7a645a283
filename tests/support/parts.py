"""The parts below the guard, built by themselves around a small training."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from supervisor.records import Observation
from supervisor.signals.nonfinite import nonfinite_signals
from supervisor.testing.tiny import Batch, TinyTrainer, tiny_batches
from supervisor.training.inspection import StateCheck
from supervisor.training.modules import parameter_names
from supervisor.training.optimizers import chained
from supervisor.training.state import Subject
from supervisor.update import Attempt, LossFunction, NativeExecutor, Place, UpdateSettings

__all__ = ["BATCHES", "PLACE", "Parts", "is_healthy", "spoils_statistics", "unlike", "users_package"]

BATCHES = tiny_batches(6)
PLACE = Place(step=3, update=5, replayed=False)


def is_healthy(observation: Observation) -> bool:
    """Whether none of the detectors that no policy can turn off finds anything."""
    return not nonfinite_signals(observation)


@dataclass
class Parts:
    """A model with all that carries an update of it out.

    Attributes:
        subject, check, executor: as the guard makes them.
        loss: batch -> scalar tensor with a graph, for the steps and for their replays.
    """

    subject: Subject
    check: StateCheck
    executor: NativeExecutor
    loss: LossFunction

    @classmethod
    def of(
        cls,
        model: nn.Module | None = None,
        loss: LossFunction | None = None,
        *,
        optimizer: Any = None,
        settings: UpdateSettings | None = None,
        **objects: Any,
    ) -> Parts:
        """Around a `TinyNet` with its cross-entropy and Adam, or whatever is given in their place.

        `objects` may name `scaler`, `extra`, `schedule`, and `replayed=False` where no step can be run again.
        """
        tiny = TinyTrainer()
        model = tiny.model if model is None else model
        if loss is None:
            tiny.model = model
            loss = tiny.loss
        made = chained(torch.optim.Adam(model.parameters(), lr=0.01) if optimizer is None else optimizer)
        extra = objects.get("extra", {})
        names = parameter_names(model, made)
        subject = Subject(model, made, None, objects.get("scaler"), extra, names)
        check = StateCheck(model, made, extra, names)
        replay = loss if objects.get("replayed", True) else None
        executor = NativeExecutor(subject, check, settings, schedule=objects.get("schedule"), loss=loss, replay=replay)
        return cls(subject, check, executor, loss)

    @property
    def model(self) -> nn.Module:
        """The model."""
        return self.subject.model

    def begun(self, *batches: Any, place: Place = PLACE) -> Attempt:
        """An update of which nothing was computed yet."""
        return Attempt(place, batches, self.executor.begin(), started=0.0)

    def measured(self, *batches: Any, place: Place = PLACE) -> Attempt:
        """An update with its passes behind it."""
        attempt = self.begun(*batches, place=place)
        try:
            loss, error = self.executor.compute(batches), None
        except Exception as raised:  # noqa: BLE001  (whatever a test's loss raises)
            loss, error = None, raised
        attempt.signals = tuple(nonfinite_signals(self.executor.measured(attempt, loss, error)))
        return attempt

    def flagged(self, *batches: Any) -> Attempt:
        """An update that was measured and discarded."""
        attempt = self.measured(*batches)
        self.executor.undo(attempt)
        return attempt

    def applied(self, *batches: Any) -> Attempt:
        """An update that reached the weights."""
        attempt = self.measured(*batches)
        self.executor.step_optimizer()
        return attempt

    def gradients(self) -> dict[str, Tensor]:
        """A copy of every gradient there is, by parameter."""
        return {name: p.grad.clone() for p, name in self.subject.names.items() if p.grad is not None}


def spoils_statistics(batch: Batch, row: int = 0) -> Batch:
    """A copy whose variance overflows in a `BatchNorm`, while loss and gradients stay finite."""
    x_BF = batch[0].clone()
    x_BF[row] = 1e25
    return x_BF, batch[1]


def users_package(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> ModuleType:
    """A module of the user's, imported from a package whose name begins as ours does; undone with the test."""
    package = folder / "supervisor_jobs"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "losses.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    for name in ("supervisor_jobs", "supervisor_jobs.losses"):
        monkeypatch.setitem(sys.modules, name, sys)
        monkeypatch.delitem(sys.modules, name)
    return importlib.import_module("supervisor_jobs.losses")


def unlike(protocol: type, implementation: object) -> list[str]:
    """The public members of a protocol that an object lacks, or whose parameters differ in it."""
    found = []
    for name, member in vars(protocol).items():
        if name.startswith("_"):
            continue
        theirs = inspect.getattr_static(type(implementation), name, None)
        if isinstance(member, property):
            found += [] if hasattr(implementation, name) else [name]
        elif not inspect.isfunction(theirs) or _parameters(theirs) != _parameters(member):
            found.append(name)
    return found + [name for name in inspect.get_annotations(protocol) if not hasattr(implementation, name)]


def _parameters(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    return [(each.name, each.kind, each.default) for each in inspect.signature(function).parameters.values()]
