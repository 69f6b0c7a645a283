"""The parts below the guard, each built by itself around a tiny training or around nothing at all."""

from __future__ import annotations

import contextlib
import io
import resource
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from supervisor.events import EventLog
from supervisor.policy import RecoveryPolicy, load_policy
from supervisor.records import Observation, Signal, SignalName
from supervisor.states.restore_points import RestorePoint
from supervisor.testing.clock import FakeClock
from supervisor.testing.events import EventList
from supervisor.training.inspection import StateCheck
from supervisor.training.modules import parameter_names
from supervisor.training.state import Subject, TrainingState, VolatileState
from supervisor.training.trainer import Stateful
from supervisor.training.tree import plain
from supervisor.update import Attempt, Phase, Place
from support.training import quiet

__all__ = [
    "NAN_LOSS",
    "attempt_of",
    "check_of",
    "files_no_larger_than",
    "log_to",
    "point_of",
    "policy_of",
    "subject_of",
    "through_a_file",
]

NAN_LOSS = (Signal(SignalName.NONFINITE_LOSS),)


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
    phase: Phase = Phase.BEGUN,
    replayed: bool = False,
    **seen: Any,
) -> Attempt:
    """An update that has measured a loss of 1 and whatever `seen` says."""
    place = Place(step, step if update is None else update, replayed)
    attempt = Attempt(place, batches or ("batch",), before or VolatileState({}, {}, {}, {}, ()), 0.0, phase=phase)
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
