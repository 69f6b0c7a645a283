"""The state of every random number generator a training step can draw from."""

from __future__ import annotations

import contextlib
import ctypes
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

__all__ = [
    "capture_rng",
    "generator_states",
    "preserved_rng",
    "restore_generators",
    "restore_rng",
    "seed_everything",
]


MERSENNE_TWISTER_BYTES = 624 * 4 + 4
"""Size of the state of NumPy's `MT19937`, in bytes: its key and its position."""

GENERATOR: Any = random.getstate.__self__  # type: ignore[attr-defined]
"""Python's global generator."""

NumpyState = tuple[str, torch.Tensor, int, int, float]
"""As `numpy.random.get_state` has it."""


def capture_rng() -> dict[str, Any]:
    """State of the global generators of Python, NumPy, torch and every CUDA device in use."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    return {
        "python": (*_PYTHON.capture(), GENERATOR.gauss_next),
        "numpy": _NUMPY.capture(),
        "torch": torch.default_generator.get_state(),
        "cuda": cuda,
    }


class _Unmoved:
    """Captures the state of a generator, and gives the last one again if the generator has not moved since.

    Python and NumPy make a list of 624 numbers to tell their states, which takes longer than all else that is copied
    before a step, and most steps draw from neither. So the bytes that a generator consists of are compared.

    Args:
        tell: gives the state.
        views: gives those bytes as they are now, in views that are made once; None where they cannot be had.
    """

    def __init__(self, tell: Callable[[], Any], views: Callable[[], tuple[memoryview, ...] | None]) -> None:
        self._tell = tell
        self._views = views
        self._seen: tuple[object, ...] | None = None
        self._told: Any = None

    def capture(self) -> Any:
        """The state now; never written to afterwards."""
        views = self._views()
        if views is None:
            return self._tell()
        if self._seen != views:
            self._seen, self._told = tuple([bytes(view) for view in views]), self._tell()
        return self._told


def _view(address: int, size: int) -> memoryview:
    return memoryview((ctypes.c_char * size).from_address(address)).cast("B")


def _view_of(held: object) -> memoryview:
    """What an object holds in its own memory, its header left out; it must outlive the view."""
    header = object.__basicsize__
    return _view(id(held) + header, type(held).__basicsize__ - header)


class _PythonViews:
    """The key and the position of Python's generator. The second normal number in reserve is not among them."""

    def __init__(self) -> None:
        # The view does not keep it alive.
        self._generator = GENERATOR
        self._views = (_view_of(GENERATOR),)

    def __call__(self) -> tuple[memoryview, ...]:
        return self._views


class _NumpyViews:
    """NumPy's generator: a second normal number in reserve is in the object, the key in what it points to."""

    def __init__(self) -> None:
        self._state: Any = np.random.get_state.__self__  # type: ignore[attr-defined]
        self._generator: Any = None
        self._known: tuple[memoryview, ...] | None = None

    def __call__(self) -> tuple[memoryview, ...] | None:
        generator = self._state._bit_generator
        if generator is not self._generator:
            # Another one may have been put in its place.
            self._generator = generator
            plain = type(generator) is np.random.MT19937
            address = generator.ctypes.state_address if plain else 0
            self._known = (_view_of(self._state), _view(address, MERSENNE_TWISTER_BYTES)) if plain else None
        return self._known


def _tell_numpy() -> NumpyState:
    kind, keys, *rest = np.random.get_state(legacy=True)
    return (str(kind), torch.from_numpy(np.asarray(keys).copy()), *rest)


def _tell_python() -> tuple[int, torch.Tensor]:
    version, internal, _ = random.getstate()
    # As a tensor it is copied in one piece, and written so.
    return version, torch.tensor(internal, dtype=torch.int64)


def _no_views() -> None:
    return None


_PYTHON = _Unmoved(_tell_python, _PythonViews() if sys.implementation.name == "cpython" else _no_views)
_NUMPY = _Unmoved(_tell_numpy, _NumpyViews() if sys.implementation.name == "cpython" else _no_views)


def restore_rng(state: dict[str, Any]) -> None:
    """Put back what `capture_rng` gave."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal.tolist()), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy(), position, has_gauss, cached))
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
