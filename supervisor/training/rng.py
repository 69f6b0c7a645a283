"""The state of every random number generator a training step can draw from."""

from __future__ import annotations

import contextlib
import ctypes
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from supervisor.training.tree import mapped

__all__ = [
    "capture_rng",
    "generator_states",
    "preserved_rng",
    "restore_generators",
    "restore_rng",
    "seed_everything",
]


KEY_BYTES, POSITION_BYTES = 624 * 4, 4
"""Sizes of the two parts of a Mersenne Twister's state."""

TELLING_BYTES = 64 * 4
"""How much of the key is compared. A draw moves the position, and when it begins again every word of the key changes;
of two keys that were seeded differently as many words are alike once in 2 to the 2,048th power."""

GENERATOR: Any = random.getstate.__self__  # type: ignore[attr-defined]
"""Python's global generator."""


def capture_rng() -> dict[str, Any]:
    """State of the global generators of Python, NumPy, torch and every CUDA device in use."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    return {
        # The second normal number that it keeps in reserve is not among its bytes.
        "python": (*_PYTHON.capture(), GENERATOR.gauss_next),
        "numpy": _NUMPY.capture(),
        "torch": torch.default_generator.get_state(),
        "cuda": cuda,
    }


@dataclass(slots=True)
class _Unmoved:
    """Captures the state of a generator, and gives the last one again if the generator has not moved since.

    Python and NumPy build their states out of 624 numbers, which takes longer than all else that is copied before a
    step, and most steps draw from neither. So what tells in the generator's memory is compared first.

    Attributes:
        tell: gives the state.
        find: gives views of those bytes; none where they cannot be read.
        generator: gives the object that the views are of. Where it is another one, they are found anew.
    """

    tell: Callable[[], Any]
    find: Callable[[Any], tuple[memoryview, ...]]
    generator: Callable[[], Any]
    # Kept, since a view does not keep alive what it is of.
    _known: Any = field(default=None, init=False)
    _views: tuple[memoryview, ...] = field(default=(), init=False)
    _seen: tuple[object, ...] = field(default=(), init=False)
    _told: Any = field(default=None, init=False)

    def capture(self) -> Any:
        """The state now; never written to afterwards."""
        generator = self.generator()
        if generator is not self._known:
            self._known, self._seen = generator, ()
            self._views = self.find(generator) if sys.implementation.name == "cpython" else ()
        if not self._views:
            return self.tell()
        if self._seen != self._views:
            self._seen, self._told = tuple([bytes(view) for view in self._views]), self.tell()
        return self._told


def _view(address: int, size: int) -> memoryview:
    return memoryview((ctypes.c_char * size).from_address(address)).cast("B")


def _view_of(held: object) -> memoryview:
    """What an object holds in its own memory, its header left out."""
    header = object.__basicsize__
    return _view(id(held) + header, type(held).__basicsize__ - header)


def _numpy_views(generator: Any) -> tuple[memoryview, ...]:
    # A second normal number in reserve is in the object, the key in what its bit generator points to.
    if type(generator) is not np.random.MT19937:
        return ()
    key = generator.ctypes.state_address
    return _view_of(_NUMPY_OBJECT), _view(key, TELLING_BYTES), _view(key + KEY_BYTES, POSITION_BYTES)


def _tell_numpy() -> tuple[Any, ...]:
    state = np.random.get_state(legacy=False)
    kind = str(state["bit_generator"])
    if kind != "MT19937":
        return kind, mapped(state, _on_the_cpu, lambda held: isinstance(held, np.ndarray))
    key, position = state["state"]["key"], state["state"]["pos"]
    return kind, torch.from_numpy(key.copy()), position, state["has_gauss"], state["gauss"]


def _on_the_cpu(held: Any) -> torch.Tensor:
    # Named, here and wherever the supervisor makes a tensor: the default device may be any.
    return torch.tensor(held, device="cpu")


def _tell_python() -> tuple[int, torch.Tensor]:
    version, internal, _ = random.getstate()
    # As a tensor it is copied in one piece, and written so.
    return version, torch.tensor(internal, dtype=torch.int64, device="cpu")


_NUMPY_OBJECT: Any = np.random.get_state.__self__  # type: ignore[attr-defined]
# Its position comes before its key.
_PYTHON = _Unmoved(_tell_python, lambda held: (_view_of(held)[: POSITION_BYTES + TELLING_BYTES],), lambda: GENERATOR)
_NUMPY = _Unmoved(_tell_numpy, _numpy_views, lambda: _NUMPY_OBJECT._bit_generator)


def restore_rng(state: dict[str, Any]) -> None:
    """Put back what `capture_rng` gave."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal.tolist()), gauss))
    kind, held, *rest = state["numpy"]
    if kind == "MT19937":
        np.random.set_state((kind, held.numpy(), *rest))
    else:
        # Another bit generator, which `numpy.random.set_bit_generator` has put in its place.
        np.random.set_state(mapped(held, torch.Tensor.numpy))
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([part.cpu() for part in state["cuda"]])


@contextlib.contextmanager
def preserved_rng() -> Iterator[None]:
    """Whatever is drawn inside, the global generators are afterwards where they were before."""
    state = capture_rng()
    try:
        yield
    finally:
        restore_rng(state)


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy (with the low 32 bits) and torch on all devices."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def generator_states(loader: object) -> list[torch.Tensor]:
    """The states of the generators that a loader and its samplers own, each once."""
    return [generator.get_state() for generator in _generators_of(loader)]


def restore_generators(loader: object, states: list[torch.Tensor]) -> None:
    """Put back what `generator_states` gave."""
    for generator, state in zip(_generators_of(loader), states, strict=False):
        generator.set_state(state.cpu())


def _generators_of(loader: object) -> list[torch.Generator]:
    batch_sampler = getattr(loader, "batch_sampler", None)
    owners = (loader, getattr(loader, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None))
    found = (getattr(owner, "generator", None) for owner in owners)
    return list({id(each): each for each in found if isinstance(each, torch.Generator)}.values())
