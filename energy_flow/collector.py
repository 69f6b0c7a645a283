"""Gathering what arrived back into a surface.

Shape suffixes: B batch, F flows of the whole batch, S surface cells, C numbers a cell.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["collect"]


def collect(
    cell_F: Tensor,
    energy_F1: Tensor,
    distance_F1: Tensor,
    steps_F1: Tensor,
    arrived_F1: Tensor,
    *,
    batch: int,
    cells: int,
    brought_FC: Tensor | None = None,
) -> Tensor:
    """Average what arrived within each cell, weighted by how the flows got there.

    A flow's score is energy / (1 + distance) · (1 + 0.1 · steps); a softmax over the scores within a cell
    gives the weights.

    Args:
        cell_F: cell number of each flow, int64 in [0, S), [F].
        energy_F1: energy [F, 1].
        distance_F1: how far the flow was projected to reach its plane, 0 where it got there itself [F, 1].
        steps_F1: time steps travelled [F, 1].
        arrived_F1: which flows count, bool [F, 1].
        batch: B; the flows of each sample lie together, equally many in each.
        cells: S.
        brought_FC: what the flows bring to their cells [F, C]; None: their energy alone.

    Returns:
        Surface [B, S·C], cell by cell. A cell in which nothing arrived is zero; the result depends on `energy_F1` in
        autograd even when nothing arrived at all.
    """
    first_B1 = torch.arange(batch, device=cell_F.device).unsqueeze(1) * cells
    index_F = (cell_F.reshape(batch, -1) + first_B1).flatten()
    score_F1 = energy_F1 / (1.0 + distance_F1) * (1.0 + 0.1 * steps_F1)
    score_F = score_F1.masked_fill(~arrived_F1, -torch.inf).flatten()

    highest = torch.full((batch * cells,), -torch.inf, dtype=score_F.dtype, device=score_F.device)
    highest = highest.scatter_reduce(0, index_F, score_F.detach(), "amax")
    # Where nothing arrived the shift is zero: -inf minus -inf would be NaN.
    shift_F = highest.masked_fill(highest == -torch.inf, 0.0)[index_F]
    mass_F = (score_F - shift_F).exp()
    zeros = torch.zeros(batch * cells, dtype=mass_F.dtype, device=mass_F.device)
    total = zeros.index_add(0, index_F, mass_F)
    brought_FC = energy_F1 if brought_FC is None else brought_FC
    summed = zeros.new_zeros(batch * cells, brought_FC.shape[1])
    summed = summed.index_add(0, index_F, mass_F.unsqueeze(1) * brought_FC)
    return (summed / total.masked_fill(total == 0, 1.0).unsqueeze(1)).reshape(batch, -1)
