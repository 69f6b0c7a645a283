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

__all__ = ["capture_rng", "preserved_rng", "restore_rng", "seed_everything"]


MERSENNE_TWISTER_BYTES = 624 * 4 + 4
"""Size of the state of NumPy's `MT19937`, in bytes: its key and its position."""

PythonState = tuple[int, torch.Tensor, float | None]
"""As `random.getstate` has it."""

NumpyState = tuple[str, torch.Tensor, int, int, float]
"""As `numpy.random.get_state` has it."""


def capture_rng() -> dict[str, Any]:
    """State of the global generators of Python, NumPy, torch and every CUDA device in use."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    return {
        "python": _PYTHON.capture(),
        "numpy": _NUMPY.capture(),
        "torch": torch.get_rng_state(),
        "cuda": cuda,
    }


class _Unmoved:
    """Captures the state of a generator, and gives the last one again if the generator has not moved since.

    Python and NumPy build their states out of 624 numbers, which takes ten times as long as everything else that is
    copied before a step, and most steps draw from neither. So the bytes in the generator's memory are compared first.

    Args:
        tell: gives the state.
        memory: gives those bytes and whatever else the state depends on; None where they cannot be read.
    """

    def __init__(self, tell: Callable[[], Any], memory: Callable[[], object | None]) -> None:
        self._tell = tell
        self._memory = memory
        self._last: tuple[object, Any] | None = None

    def capture(self) -> Any:
        """The state now; never written to afterwards."""
        memory = self._memory() if sys.implementation.name == "cpython" else None
        if memory is None:
            return self._tell()
        if self._last is None or self._last[0] != memory:
            self._last = memory, self._tell()
        return self._last[1]


def _bytes_of(held: object) -> bytes:
    """What an object holds in its own memory, its header left out."""
    header = object.__basicsize__
    return ctypes.string_at(id(held) + header, type(held).__basicsize__ - header)


def _python_memory() -> object:
    generator = random.getstate.__self__  # type: ignore[attr-defined]
    return _bytes_of(generator), generator.gauss_next


def _numpy_memory() -> object | None:
    held = np.random.get_state.__self__  # type: ignore[attr-defined]
    generator = held._bit_generator
    if type(generator) is not np.random.MT19937:
        return None
    # A second normal number in reserve is in the object, the key in what it points to.
    return _bytes_of(held), ctypes.string_at(generator.ctypes.state_address, MERSENNE_TWISTER_BYTES)


def _tell_numpy() -> NumpyState:
    kind, keys, *rest = np.random.get_state(legacy=True)
    return (str(kind), torch.from_numpy(np.asarray(keys).copy()), *rest)


def _tell_python() -> PythonState:
    version, internal, gauss = random.getstate()
    # As a tensor it is copied in one piece, and written so.
    return version, torch.tensor(internal, dtype=torch.int64), gauss


_PYTHON = _Unmoved(_tell_python, _python_memory)
_NUMPY = _Unmoved(_tell_numpy, _numpy_memory)


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
