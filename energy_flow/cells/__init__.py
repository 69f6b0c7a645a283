"""The recurrences that can carry the flows, by the name that a config calls each."""

from __future__ import annotations

from energy_flow.cells.base import CarrierCell
from energy_flow.cells.choice import make_cell
from energy_flow.cells.gru import Gru
from energy_flow.cells.layer_norm_gru import LayerNormGru
from energy_flow.cells.lru import Lru
from energy_flow.cells.mingru import MinGru

__all__ = ["CarrierCell", "Gru", "LayerNormGru", "Lru", "MinGru", "make_cell"]
