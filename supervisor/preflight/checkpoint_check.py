"""A checkpoint of the job, written, read back, compared bit for bit and put back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from supervisor.checkpoints import CheckpointStore
from supervisor.clock import Clock
from supervisor.errors import CheckpointError
from supervisor.events import RunStatus
from supervisor.guard import Guard
from supervisor.preflight.data_pass import told
from supervisor.preflight.report import CheckpointCheck
from supervisor.run_layout import RunLayout
from supervisor.training.state import Subject, TrainingState
from supervisor.training.tree import mapped, plain, tensors_in

__all__ = ["check_checkpoint", "different"]


def check_checkpoint(guard: Guard, layout: RunLayout, clock: Clock) -> CheckpointCheck:
    """Have a guard write its state, and see that it is there again.

    Args:
        guard: after some updates; it ends here.
        layout: of its run directory.
        clock: measures the write.

    Raises:
        CheckpointError: no checkpoint was written, or it cannot be read, or what it holds cannot be put back.
    """
    subject = guard.parts.subject
    started = clock.monotonic()
    guard.finish(RunStatus.INTERRUPTED)
    seconds = clock.monotonic() - started
    store = CheckpointStore(layout.checkpoints, "")
    newest = next((each for each in store.committed() if each.update == guard.updates_attempted), None)
    if newest is None:
        raise CheckpointError("no checkpoint of the state after the first updates was written")
    live = _taken(subject)
    moment = store.load(newest.path)["moment"]
    read = moment["training"]
    places = different(live, read)
    if not places:
        try:
            subject.restore(TrainingState.from_tree(read))
            if moment["data"].get("loader") is not None:
                # Others are read up to their place, of which some have no second time.
                guard.parts.data.resume(moment["data"])
        except Exception as error:
            raise CheckpointError(f"the checkpoint cannot be put back: {told(error)}") from error
        places = different(live, _taken(subject))
    if places:
        shown = ", ".join(places[:5]) + (" ..." if len(places) > 5 else "")
        raise CheckpointError(f"the checkpoint does not give back what was there: {shown}")
    return CheckpointCheck(
        size_bytes=sum(file.stat().st_size for file in newest.path.iterdir()),
        write_seconds=seconds,
        state_bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors_in(live)),
        identical=True,
    )


def _taken(subject: Subject) -> Any:
    """The state as a checkpoint holds it, on the CPU, so that a full device has room for the rest."""
    return mapped(plain(subject.capture().to_tree()), lambda tensor: tensor.cpu())


def different(one: Any, other: Any, path: str = "state") -> list[str]:
    """The places at which two trees of tensors and plain values are not the same bit for bit."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return [] if _same_bits(one, other) else [path]
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if one.keys() != other.keys():
            return [path]
        return [place for key in one for place in different(one[key], other[key], f"{path}.{key}")]
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        if len(one) != len(other):
            return [path]
        pairs = zip(one, other, strict=True)
        return [place for at, (left, right) in enumerate(pairs) for place in different(left, right, f"{path}.{at}")]
    same = type(one) is type(other) and (
        one == other or (isinstance(one, float) and math.isnan(one) and math.isnan(other))
    )
    return [] if same else [path]


def _same_bits(one: Tensor, other: Tensor) -> bool:
    if one.dtype is not other.dtype or one.shape != other.shape or one.layout is not other.layout:
        return False
    if one.layout is not torch.strided or one.is_quantized:
        return torch.equal(one.cpu(), other.cpu())
    left, right = (each.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for each in (one, other))
    return torch.equal(left, right)
