"""The lattice: where cells are, how positions move, and which cell a position falls in.

Every coordinate is normalised: the lattice reaches from -1 to 1 along each axis. X and Y end in walls that
reflect; Z ends in the two surface planes at -1 and 1.

Shape suffixes: S surface cells, 3 and 2 coordinates; a leading `...` is any shape.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["cell_centres", "move", "quantise", "reflect"]


def reflect(coordinate: Tensor) -> Tensor:
    """Fold coordinates that left [-1, 1] back in, as a ball bounces between two walls; any shape.

    Points inside keep their value up to rounding. The gradient is +1 or -1, by the direction of travel.
    """
    return 1.0 - (torch.remainder(coordinate + 1.0, 4.0) - 2.0).abs()


def move(position: Tensor, displacement: Tensor) -> Tensor:
    """New positions [..., 3]: X and Y reflect at the walls, Z stops at the surface planes."""
    moved = position + displacement
    return torch.cat((reflect(moved[..., :2]), moved[..., 2:].clamp(-1.0, 1.0)), dim=-1)


def cell_centres(width: int, height: int, device: torch.device | None = None) -> Tensor:
    """Centres [S, 2] of the surface cells, in row order: cell number = y * width + x."""
    x = (torch.arange(width, device=device) + 0.5) * (2.0 / width) - 1.0
    y = (torch.arange(height, device=device) + 0.5) * (2.0 / height) - 1.0
    return torch.stack((x.repeat(height), y.repeat_interleave(width)), dim=1)


def quantise(position: Tensor, width: int, height: int) -> Tensor:
    """Number of the surface cell [...] that each position [..., 2 or 3] falls in, int64 in [0, S).

    A position outside, or one that is not finite, gets a border cell: an index out of range would end a CUDA
    process, and the number that is wrong is reported elsewhere.
    """
    column = _cell(position[..., 0], width)
    row = _cell(position[..., 1], height)
    return row * width + column


def _cell(coordinate: Tensor, cells: int) -> Tensor:
    scaled = ((coordinate.detach() + 1.0) * (cells / 2.0)).floor()
    return scaled.nan_to_num(nan=0.0).clamp(0, cells - 1).long()
