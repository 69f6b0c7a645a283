"""The gated recurrent unit: torch's own, drawn by the stable rule."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from energy_flow.cells.base import CarrierCell
from energy_flow.stability import Draw, initialize_gru_

__all__ = ["Gru"]


class Gru(nn.GRU, CarrierCell):
    """r, z = sigmoid(W x + U h), n = tanh(W x + r · (U h)), h' = (1 - z) · n + z · h.

    What it does to a gradient: dh'/dh = diag(z) + terms in U, the hidden weights, through all three gates. They have no
    bound but the size of U, so that over T steps a gradient can grow as a power of it (Pascanu et al., "On the
    difficulty of training recurrent neural networks", 2013, for recurrences in general; the unit itself: Cho et al.,
    "Learning Phrase Representations using RNN Encoder-Decoder", 2014). The orthogonal draw and the open update gate
    keep it near 1 at the start; nothing keeps it there.

    A new one holds torch's own draw until it is reset, which the carrier does.

    Args:
        input_size: elements P of the input.
        hidden_size: elements h of the state.
        num_layers: layers L.
        method: how hidden weights are drawn.
    """

    _is_built = False

    def __init__(self, input_size: int, hidden_size: int, num_layers: int, method: Draw = "orthogonal") -> None:
        super().__init__(input_size, hidden_size, num_layers)
        self._method: Draw = method
        self._is_built = True

    def forward(  # type: ignore[override]
        self, input_FP: Tensor, hidden_LFh: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Take one time step, as `CarrierCell.forward`."""
        _, hidden_LFh = super().forward(input_FP.unsqueeze(0), hidden_LFh)
        return hidden_LFh[-1], hidden_LFh

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Redraw by `initialize_gru_`."""
        if self._is_built:
            initialize_gru_(self, self._method, generator)
        else:
            # Left out, it would change what everything built after it draws from the global generator.
            super().reset_parameters()
