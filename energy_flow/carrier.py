"""EnergyCarrier: the one recurrent cell that carries every flow, with guards on both sides of it.

Shape suffixes: F flows, P neuron output, L layers, h hidden size.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from energy_flow.cells import CarrierCell, make_cell
from energy_flow.config import EnergyConfig
from energy_flow.stability import DeviceTally, count_extremes, initialize_linear_, sanitize

__all__ = ["DISPLACEMENT_LIMIT", "EnergyCarrier"]

DISPLACEMENT_LIMIT = 0.5
"""Farthest a flow moves along one axis in one step, in normalised coordinates."""


class EnergyCarrier(nn.Module):
    """Decides, for each flow and one step at a time, its next energy and its displacement.

    Args:
        config: sizes and safety fields; the default config when None.
        generator: CPU generator for all weights; None draws from the global one.
    """

    def __init__(self, config: EnergyConfig | None = None, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config = config or EnergyConfig()
        hidden = config.carrier_hidden_size
        # Under its own name: the parameters of a run, its faults and its findings then say which cell it has.
        self.add_module(config.carrier_cell, make_cell(config))
        self.energy_head = nn.Sequential(
            nn.Linear(hidden, hidden // 2), nn.GELU(), nn.Linear(hidden // 2, 1), nn.Tanh()
        )
        self.displacement_head = nn.Sequential(nn.Linear(hidden, 64), nn.GELU(), nn.Linear(64, 3))
        self._sanitized = DeviceTally()
        self._extremes = DeviceTally()
        self.reset_parameters(generator)

    @property
    def cell(self) -> CarrierCell:
        """The recurrent cell, which is also the attribute that `carrier_cell` names, as in `carrier.gru`."""
        return cast("CarrierCell", self.get_submodule(self.config.carrier_cell))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Redraw the cell by its own rule and both heads, in place.

        Args:
            generator: CPU generator to draw from; None draws from the global one.
        """
        self.cell.reset_parameters(generator)
        for layer in (*self.energy_head, *self.displacement_head):
            if isinstance(layer, nn.Linear):
                initialize_linear_(layer, generator)
        last = self.displacement_head[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            # A fresh flow drifts outward instead of trembling around the centre plane for ever.
            last.weight.mul_(0.1)
            last.bias[2] = min(self.config.outward_travel / self.config.steps, DISPLACEMENT_LIMIT)

    def forward(
        self, neuron_output_FP: Tensor, embedding_part_F1: Tensor, hidden_LFh: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Carry every flow one step further.

        Args:
            neuron_output_FP: what the neuron says about the flow's cell [F, neuron_output_dim].
            embedding_part_F1: the part of the embedding the flow carries [F, embedding_part_dim].
            hidden_LFh: the cell's hidden state [L, F, h]; None for flows that start.

        Returns:
            `output` [F, 4]: the energy in (-1, 1), then the displacement along X, Y, Z within
            ±`DISPLACEMENT_LIMIT`; and the next hidden state [L, F, h].
        """
        entering_F = torch.cat((neuron_output_FP, embedding_part_F1), dim=1)
        self._watch(entering_F)
        entering_F = self._guard(entering_F, self.config.gru_input_clip_value)
        if hidden_LFh is not None:
            hidden_LFh = self._guard(hidden_LFh, self.config.gru_input_clip_value)
        cell = self.cell
        carried_Fh, hidden_LFh = cell(entering_F, hidden_LFh)
        hidden_LFh = self._guard(hidden_LFh, self.config.gru_output_clip_value)
        # Where the output is a part of the hidden state, one guard does for both and counts once.
        if cell.output_is_hidden:
            carried_Fh = hidden_LFh[-1]
        else:
            carried_Fh = self._guard(carried_Fh, self.config.gru_output_clip_value)
        output_F4 = torch.cat((self.energy_head(carried_Fh), self.displacement_head(carried_Fh)), dim=1)
        self._watch(output_F4)
        # Guarded before the limit is applied, which would hide an infinity that nobody has counted.
        output_F4 = self._guard(output_F4, self.config.gru_output_clip_value)
        energy_F1, displacement_F3 = torch.split(output_F4, [1, 3], dim=1)
        limited_F3 = displacement_F3.clamp(-DISPLACEMENT_LIMIT, DISPLACEMENT_LIMIT)
        return torch.cat((energy_F1, limited_F3), dim=1), hidden_LFh

    def sanitized(self) -> Tensor:
        """Values replaced (NaN or infinite) since the last call: 0-dimensional int64 on the device."""
        return self._sanitized.take(self._device())

    def extremes(self) -> Tensor:
        """Finite values beyond `extreme_value_threshold` seen since the last call: 0-dimensional int64."""
        return self._extremes.take(self._device())

    def _device(self) -> torch.device:
        return next(self.parameters()).device

    def _watch(self, values: Tensor) -> None:
        if self.config.log_extreme_values:
            count_extremes(values, self.config.extreme_value_threshold, self._extremes)

    def _guard(self, values: Tensor, clip: float) -> Tensor:
        if not self.config.enable_gru_nan_protection:
            return values
        return sanitize(values, clip, self._sanitized)
