"""Which flows spawn another one in a step, and into which slot: fixed shapes, no waiting for the device.

Shape suffixes: B batch, N flow slots a sample. The last `capacity` of the N slots are for spawned flows.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["choose_parents"]


def choose_parents(movement_BN: Tensor, eligible_BN: Tensor, spawned_B: Tensor, capacity: int) -> tuple[Tensor, Tensor]:
    """Give the free spawn slots of each sample to its farthest-moving eligible flows.

    Slots are filled in order and never again, so a sample never spawns more than `capacity` flows in all.

    Args:
        movement_BN: length of each flow's displacement in this step [B, N].
        eligible_BN: which flows may spawn, bool [B, N].
        spawned_B: spawn slots already in use, int64 [B].
        capacity: spawn slots of a sample, from 1 to N.

    Returns:
        `source_BN`, the flow that each slot goes on from: itself, or the parent where a spawn slot is
        filled in this step, int64 in [0, N); and `born_BN`, whether it is, bool.
    """
    slots = movement_BN.shape[1]
    ranked_BN = movement_BN.masked_fill(~eligible_BN, -1.0).argsort(dim=1, descending=True, stable=True)
    slot_N = torch.arange(slots, device=movement_BN.device)
    # The first free slot goes to the flow in the first place of the ranking, and so on.
    place_BN = slot_N - (slots - capacity) - spawned_B.unsqueeze(1)
    spawn_slot_N = slot_N >= slots - capacity
    born_BN = spawn_slot_N & (place_BN >= 0) & (place_BN < eligible_BN.sum(dim=1, keepdim=True))
    return torch.where(born_BN, ranked_BN.gather(1, place_BN.clamp(min=0)), slot_N), born_BN
