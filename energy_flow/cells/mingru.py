"""The minimal GRU, whose gates do not read its state.

Shape suffixes: F flows, P elements of the input, L layers, h hidden size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from energy_flow.cells.base import CarrierCell
from energy_flow.stability import draw_gates_

__all__ = ["MinGru"]

KEEP_BIAS = -1.0
"""Bias of the update gate in a fresh cell: it keeps 0.73 of its state, as much as a fresh GRU."""


class MinGru(CarrierCell):
    """z = sigmoid(W_z x + b_z), n = tanh(W_n x + b_n), h' = (1 - z) · h + z · n.

    What it does to a gradient: dh'/dh = diag(1 - z), whose elements lie within 0 and 1 whatever the weights are, so no
    number of steps makes a gradient of the state grow; and the state stays within ±1 once it is (Feng et al., "Were
    RNNs All We Needed?", 2024, whose minGRU has no tanh). Between layers it can: the gates of a layer read the state
    of the one below through W, once for each layer, whatever the number of steps. What the carrier does with the
    output, and reads again as its next input, is outside of the cell and outside of this bound.

    Args:
        input_size: elements P of the input.
        hidden_size: elements h of the state.
        num_layers: layers L.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int) -> None:
        super().__init__()
        self.hidden_size, self.num_layers = hidden_size, num_layers
        for layer in range(num_layers):
            entering = hidden_size if layer else input_size
            self.register_parameter(f"weight_ih_l{layer}", nn.Parameter(torch.empty(2 * hidden_size, entering)))
            self.register_parameter(f"bias_ih_l{layer}", nn.Parameter(torch.empty(2 * hidden_size)))
        self.reset_parameters()

    def forward(self, input_FP: Tensor, hidden_LFh: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Take one time step, as `CarrierCell.forward`."""
        below_Fx, after = input_FP, []
        for layer, hidden_Fh in enumerate(self._states_before(input_FP, hidden_LFh)):
            weight, bias = getattr(self, f"weight_ih_l{layer}"), getattr(self, f"bias_ih_l{layer}")
            update_Fh, new_Fh = functional.linear(below_Fx, weight, bias).to(hidden_Fh.dtype).chunk(2, dim=1)
            below_Fx = torch.lerp(hidden_Fh, new_Fh.tanh(), update_Fh.sigmoid())
            after.append(below_Fx)
        return below_Fx, torch.stack(after)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Xavier weights for each gate by itself; zero biases, but for the update gate's, which keeps the state."""
        for name, parameter in self.named_parameters():
            if name.startswith("weight"):
                draw_gates_(parameter, 2, "xavier", generator)
            else:
                nn.init.zeros_(parameter)
                nn.init.constant_(parameter[: self.hidden_size], KEEP_BIAS)
