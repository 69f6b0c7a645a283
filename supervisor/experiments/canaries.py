"""Canaries: the last batches that were healthy, kept to be tried again on a state that is suspected."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from supervisor.experiments.kept_batches import from_checkpoint, to_checkpoint
from supervisor.training.tree import clone, copies, tensors_in
from supervisor.update import Attempt

__all__ = ["Canary", "RecentCanaries", "canaries_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Canary:
    """The batches of a healthy update.

    Attributes:
        batches: as they were drawn; copied only where the loader fills the same memory again.
        rng: the generators from which its loss was computed.
        loss: that loss.
        update: the update at which it was measured.
        rows: their indices in the data set, where the data give them.
        versions: how often each tensor had been written to by then.
        places: where their tensors' memory begins; None for a copy, whose memory nobody fills again.
    """

    batches: tuple[Any, ...]
    rng: dict[str, Any]
    loss: float
    update: int
    rows: frozenset[int | str]
    versions: tuple[int, ...]
    places: frozenset[int] | None = None

    @property
    def copied(self) -> bool:
        """Whether the batches are a copy."""
        return self.places is None

    @property
    def intact(self) -> bool:
        """Whether nobody has written to its batches since, as a loader does that fills the same memory again."""
        return versions_of(self.batches) == self.versions

    def copy(self) -> Canary:
        """One whose batches nobody else can write to; itself where it is one, or where they cannot be copied."""
        if self.copied or not copies(self.batches):
            return self
        batches = clone(self.batches)
        return replace(self, batches=batches, versions=versions_of(batches), places=None)


class RecentCanaries:
    """The canaries of the last healthy updates.

    Args:
        keep: how many are kept; 0: none.
    """

    def __init__(self, keep: int) -> None:
        self._kept: deque[Canary] = deque(maxlen=keep)
        self._copies = False

    def healthy(self, attempt: Attempt, rows: Sequence[int | str] | None = None) -> None:
        """An update proved healthy: keep its batches."""
        if self._kept.maxlen == 0 or attempt.seen.replayed:
            return
        batches = attempt.batches
        places = None if self._copies else self._noticed(places_of(batches))
        if self._copies:
            if not copies(batches):
                return
            batches, places = clone(batches), None
        seen, place = attempt.seen, attempt.place
        known, versions = frozenset(rows or ()), versions_of(batches)
        self._kept.append(Canary(batches, attempt.before.rng, seen.loss, place.update, known, versions, places))

    def _noticed(self, places: frozenset[int]) -> frozenset[int]:
        """Memory that a canary holds is given to nobody else: a batch that lies there was written over it."""
        kept = [each for each in self._kept if each.places is None or places.isdisjoint(each.places)]
        if len(kept) < len(self._kept):
            self._copies = True
            self.recall(kept)
        return places

    def usable(self, quarantined: Collection[Any] = ()) -> tuple[Canary, ...]:
        """Those whose batches are as they were, and hold no row that was found to be bad since."""
        return tuple(each for each in self._kept if each.intact and each.rows.isdisjoint(quarantined))

    def begin_anew(self) -> None:
        """Keep none of them: they say nothing about the data that come now, or about redrawn weights."""
        self._kept.clear()

    def remember(self) -> tuple[Canary, ...]:
        """Those kept now, for a state in memory."""
        return tuple(self._kept)

    def recall(self, kept: Sequence[Canary]) -> None:
        """Keep those that `remember` gave."""
        self._kept.clear()
        self._kept.extend(kept)
        self._copies = self._copies or any(each.copied for each in kept)

    def state_dict(self) -> list[dict[str, Any]]:
        """Those that a checkpoint can give back, as tensors and plain values."""
        found = []
        for each in self._kept:
            kept = to_checkpoint(each.batches) if each.intact else None
            if kept is not None:
                rows = sorted(each.rows, key=str)
                measured = {"rng": dict(each.rng), "loss": each.loss, "update": each.update}
                found.append({**kept, **measured, "rows": rows, "copied": each.copied})
        return found

    def load_state_dict(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Take back what `state_dict` gave."""
        self.recall(canaries_of(state))


def canaries_of(state: Sequence[Mapping[str, Any]]) -> tuple[Canary, ...]:
    """The canaries that `state_dict` put into a checkpoint, on the devices on which they were."""
    found = []
    for each in state:
        batches, rows = from_checkpoint(each), frozenset(each["rows"])
        places = None if each.get("copied", False) else places_of(batches)
        found.append(Canary(batches, each["rng"], each["loss"], each["update"], rows, versions_of(batches), places))
    return tuple(found)


def versions_of(batches: Sequence[Any]) -> tuple[int, ...]:
    """How often each tensor was written to; torch counts it."""
    return tuple([_version(tensor) for batch in batches for tensor in tensors_in(batch)])


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def places_of(batches: Sequence[Any]) -> frozenset[int]:
    """Where the tensors' memory begins."""
    held = [tensor for batch in batches for tensor in tensors_in(batch)]
    return frozenset(
        [each.data_ptr() for each in held if each.layout is torch.strided and not each.is_meta and each.numel() > 0]
    )
