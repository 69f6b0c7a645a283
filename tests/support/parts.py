"""The parts below the guard, each built by itself around a tiny training or around nothing at all."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import resource
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from supervisor.events import EventLog
from supervisor.policy import RecoveryPolicy, load_policy
from supervisor.records import Observation, Signal, SignalName
from supervisor.signals.nonfinite import nonfinite_signals
from supervisor.states.restore_points import RestorePoint
from supervisor.testing.clock import FakeClock
from supervisor.testing.events import EventList
from supervisor.testing.tiny import Batch, TinyTrainer, tiny_batches
from supervisor.training.inspection import StateCheck
from supervisor.training.modules import parameter_names
from supervisor.training.optimizers import chained
from supervisor.training.state import Subject, TrainingState, VolatileState
from supervisor.training.trainer import Stateful
from supervisor.training.tree import plain
from supervisor.update import Attempt, LossFunction, NativeExecutor, Place, UpdateSettings
from support.training import quiet

__all__ = [
    "BATCHES",
    "NAN_LOSS",
    "PLACE",
    "Parts",
    "attempt_of",
    "check_of",
    "files_no_larger_than",
    "is_healthy",
    "log_to",
    "point_of",
    "policy_of",
    "spoils_statistics",
    "subject_of",
    "through_a_file",
    "unlike",
    "users_package",
]

BATCHES = tiny_batches(6)
PLACE = Place(step=3, update=5, replayed=False)
NAN_LOSS = (Signal(SignalName.NONFINITE_LOSS),)


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
        check = check_of(subject)
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


def policy_of(*rungs: Mapping[str, Any], **changes: Any) -> RecoveryPolicy:
    """A policy in which only what a test provokes is found; its ladder where `rungs` are given."""
    return load_policy(quiet(**({"ladder": [*rungs]} if rungs else {}), **changes))


def subject_of(training: Any, extra: Mapping[str, Stateful] | None = None, scaler: Any = None) -> Subject:
    """The objects of a training, under supervision."""
    names = parameter_names(training.model, training.optimizer)
    return Subject(training.model, training.optimizer, None, scaler, extra or {}, names)


def check_of(subject: Subject) -> StateCheck:
    """The state check of these objects."""
    return StateCheck(subject.model, subject.optimizer, subject.extra, subject.names)


def log_to(heard: EventList) -> EventLog:
    """An event log without a file."""
    return EventLog(None, "run", 0, FakeClock(), [heard])


def point_of(step: int, update: int | None = None, size: int = 3) -> RestorePoint:
    """A restore point of one parameter, `w`, whose every element is the update."""
    update = step if update is None else update
    training = TrainingState(
        parameters={"w": torch.full((size,), float(update))},
        buffers={},
        module_extra={},
        optimizer={"state": {}, "groups": []},
        scheduler=None,
        scaler=None,
        extra={},
        rng={},
    )
    return RestorePoint(step, update, step, float(step), training, {"batch_number": update, "pending": []})


def attempt_of(
    step: int = 0,
    update: int | None = None,
    *batches: Any,
    before: VolatileState | None = None,
    replayed: bool = False,
    **seen: Any,
) -> Attempt:
    """An update that has measured a loss of 1 and whatever `seen` says."""
    place = Place(step, step if update is None else update, replayed)
    attempt = Attempt(place, batches or ("batch",), before or VolatileState({}, {}, {}, {}, ()), 0.0)
    fields = {"loss": 1.0, "grad_norm": 1.0, "replayed": replayed, **seen}
    attempt.observation = Observation(place.step, place.update, **fields)
    return attempt


def through_a_file(tree: Any) -> Any:
    """A tree as a checkpoint gives it back: nothing pickled is executed."""
    file = io.BytesIO()
    torch.save(plain(tree), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@contextlib.contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """The kernel refuses to let any file of this process grow further, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


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
