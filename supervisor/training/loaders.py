"""Keeps a loader that is being read where it is, while somebody else reads it too."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from torch.utils.data import DataLoader

from supervisor.training.rng import generator_states, restore_generators

__all__ = ["has_lasting_workers", "have_lasting_workers", "loader_undisturbed"]

_Position = TypeVar("_Position")

_OF_READING = ("_iterator", "next_iter_state", "_initial_iter_for_state_dict")
"""What loaders of torch's and torchdata's remember of the iterator that was begun last."""


def has_lasting_workers(loader: object) -> bool:
    """Whether it has workers that outlive an epoch. It draws a seed for them in the first one alone."""
    return isinstance(loader, DataLoader) and loader._iterator is not None


def have_lasting_workers(loader: object, running: bool, begin: Callable[[], object]) -> None:
    """Have those workers, or not, as at a position gone to, so that the next epoch draws as it did there.

    Args:
        loader: the data, of whatever kind; kinds without such workers are left alone.
        running: whether it is to have them.
        begin: begins the iterator that keeps them, with the sampler that the loader is to keep.
    """
    if not isinstance(loader, DataLoader) or running == has_lasting_workers(loader):
        return
    if running:
        begin()
    else:
        loader._iterator = None


@contextlib.contextmanager
def loader_undisturbed(
    loader: object, position: Callable[[], _Position], seek: Callable[[_Position], object]
) -> Iterator[None]:
    """A loader may be read inside, as where an evaluation goes over the training data.

    Its generators and the iterator whose position it tells are afterwards what they were. One whose workers outlive an
    epoch has a single iterator: where that was begun anew, the loader is read up to its position again.

    Args:
        loader: the data, of whatever kind; kinds that keep nothing of a reader are left alone.
        position: tells where the data stand; asked for such loaders alone.
        seek: goes back there.
    """
    generators = generator_states(loader)
    held: dict[str, Any] = getattr(loader, "__dict__", {})
    reading = {name: held[name] for name in _OF_READING if name in held}
    shared = _shared(loader)
    stood = None if shared is None else position()
    try:
        yield
    finally:
        restore_generators(loader, generators)
        for name, value in reading.items():
            if held.get(name) is not value:
                held[name] = value
        if stood is not None and _shared(loader) is not shared:
            seek(stood)


def _shared(loader: object) -> object | None:
    """What the one iterator of a loader with lasting workers goes through; None for another loader."""
    iterator = getattr(loader, "_iterator", None) if getattr(loader, "persistent_workers", False) else None
    return getattr(iterator, "_sampler_iter", None)
