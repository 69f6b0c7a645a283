"""Blocks inside which anything may be computed, and after which everything is what it was, bit for bit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

from torch import Tensor

from supervisor.training.attributes import ModuleAttributes
from supervisor.training.modules import named_modules
from supervisor.training.state import Subject, TrainingState

__all__ = ["Surroundings", "forward_undone", "put_gradients", "updates_undone"]


class Surroundings:
    """What a pass can change that no state holds: training modes and plain attributes of modules.

    Args:
        subject: the training objects, as they are now.
    """

    def __init__(self, subject: Subject) -> None:
        self._modes = [(module, module.training) for _, module in named_modules(subject.model)]
        self._attributes = ModuleAttributes(subject.model)

    def put_back(self) -> None:
        """Give the modules back what they had."""
        for module, mode in self._modes:
            module.training = mode
        self._attributes.put_back()


@contextlib.contextmanager
def forward_undone(subject: Subject) -> Iterator[Callable[[], None]]:
    """Forward passes may be run inside. Gradients that are there stay as they are.

    Gives what undoes the passes so far, so that one does not hear of those before it, as where a loss counts its calls.
    """
    present, surroundings = subject.capture_volatile(), Surroundings(subject)

    def undo() -> None:
        surroundings.put_back()
        subject.restore_volatile(present)

    try:
        yield undo
    finally:
        undo()


@contextlib.contextmanager
def updates_undone(subject: Subject, present: TrainingState | None = None) -> Iterator[Surroundings]:
    """Whole updates may be run inside, and other states put in place. Gives the surroundings, to begin each anew.

    Args:
        subject: the training objects.
        present: the state that is in place, where somebody holds it already; None: it is copied.
    """
    present = present or subject.capture()
    surroundings, gradients = Surroundings(subject), subject.gradients()
    subject.drop_gradients()
    try:
        yield surroundings
    finally:
        subject.restore(present)
        surroundings.put_back()
        put_gradients(subject, gradients)


def put_gradients(subject: Subject, gradients: Mapping[str, Tensor]) -> None:
    """Give the parameters the gradients that they had, by name."""
    for parameter, name in subject.names.items():
        parameter.grad = gradients.get(name)
