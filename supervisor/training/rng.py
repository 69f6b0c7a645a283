"""The state of every random number generator a training step can draw from."""

from __future__ import annotations

import contextlib
import ctypes
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

__all__ = ["capture_rng", "preserved_rng", "restore_rng", "seed_everything"]


MERSENNE_TWISTER_BYTES = 624 * 4 + 4
"""Size of NumPy's `MT19937` state in memory: its key and its position."""

NumpyState = tuple[str, torch.Tensor, int, int, float]

_numpy_seen: tuple[bytes, NumpyState] | None = None


def capture_rng() -> dict[str, Any]:
    """State of the global generators of Python, NumPy, torch and every CUDA device in use."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    return {
        "python": random.getstate(),
        "numpy": _capture_numpy(),
        "torch": torch.get_rng_state(),
        "cuda": cuda,
    }


def _capture_numpy() -> NumpyState:
    """The state of NumPy's generator; the one given last where it has not moved since.

    NumPy takes longer to tell its state than all other generators together, so what it is made of is looked at first.
    """
    global _numpy_seen
    generator = np.random.get_bit_generator()
    memory = b""
    if type(generator) is np.random.MT19937:
        memory = ctypes.string_at(generator.ctypes.state_address, MERSENNE_TWISTER_BYTES)
        if _numpy_seen is not None and _numpy_seen[0] == memory:
            return _numpy_seen[1]
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    state = (str(kind), torch.from_numpy(np.asarray(keys).copy()), position, has_gauss, cached)
    # A second normal number, held back when the first was drawn, comes and goes without a trace in the memory.
    _numpy_seen = (memory, state) if memory and not has_gauss else None
    return state


def restore_rng(state: dict[str, Any]) -> None:
    """Put back what `capture_rng` gave."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
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
