"""What keeps data from coming again after a resume, and what to make stateful about it."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

__all__ = ["named", "what_to_keep"]

_GENERATORS = (random.Random, np.random.Generator, np.random.RandomState, torch.Generator)

_STATE = "state_dict and load_state_dict"


def what_to_keep(data: Any, *, same_rows: bool) -> str:
    """What the data draw on that no checkpoint holds, and the mend.

    Args:
        data: what batches are drawn from.
        same_rows: the same rows of the data set come again, with other values.
    """
    loader = _loader_in(data)
    if loader is None:
        source = _unwrapped(data)
        return f"{named(source)}{_own(source)}: give it {_STATE} that tell where it stands"
    if same_rows:
        source = getattr(loader, "dataset", loader)
        mend = "draw from the global generators of Python, NumPy or torch, which a checkpoint holds"
        if getattr(loader, "num_workers", 0) and hasattr(loader, "state_dict"):
            mend += "; torchdata's loader does not keep those of its worker processes"
        return f"the rows are the same, their values are not: {named(source)}{_own(source)}: {mend}"
    sampler = _sampler_of(loader)
    if sampler is None:
        return f"{named(loader)}: the data set has changed, or its order hangs on something that no checkpoint holds"
    return (
        f"the order comes from {named(sampler)}{_own(sampler)}: have it draw from a torch.Generator that it keeps as "
        f"`generator`, or give it {_STATE} that tell where in its order it stands, and load it with torchdata's "
        "StatefulDataLoader"
    )


def named(held: object) -> str:
    """The class of an object, with its module."""
    kind = type(held)
    return (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )


def _unwrapped(data: Any) -> Any:
    while "_data" in getattr(data, "__dict__", {}):
        data = vars(data)["_data"]
    return data


def _loader_in(data: Any) -> Any:
    """The loader with a batch sampler that `data` is, or wraps; None where there is none."""
    source = _unwrapped(data)
    return source if getattr(source, "batch_sampler", None) is not None else None


def _sampler_of(loader: Any) -> Any:
    """The sampler that is not one of torch's own, or counts epochs."""
    batches = loader.batch_sampler
    for sampler in (batches, getattr(loader, "sampler", None), getattr(batches, "sampler", None)):
        module = type(sampler).__module__
        if sampler is not None and (not module.startswith(("torch.", "torchdata.")) or hasattr(sampler, "epoch")):
            return sampler
    return None


def _own(source: object) -> str:
    """Where its chance comes from, as far as its attributes tell."""
    held = getattr(source, "__dict__", {})
    own = next((name for name, value in held.items() if isinstance(value, _GENERATORS)), None)
    if own is not None:
        return f", which draws from its own `{own}` ({named(held[own])})"
    counted = next((name for name, value in held.items() if "epoch" in name and isinstance(value, int)), None)
    return "" if counted is None else f", which counts its epochs itself (`{counted}`)"
