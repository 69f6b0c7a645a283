"""A GRU whose gates are normalised before they are added up.

Shape suffixes: F flows, P elements of the input, L layers, h hidden size, G gates.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from energy_flow.cells.base import CarrierCell
from energy_flow.stability import Draw, draw_gates_

__all__ = ["LayerNormGru"]

EPSILON = 1e-3
"""Added to the variance: with it a normalisation multiplies a gradient by 32 at most, times its gain and weights."""

GATES = 3
"""Reset, update, new, in torch's order."""


class LayerNormGru(CarrierCell):
    """A GRU in which LN(W x) and LN(U h) stand in place of W x + b and U h + b, each gate normalised by itself.

    What it does to a gradient: LN(U h) is the same for U and for 20 U, and so is its derivative by h: large hidden
    weights do no harm by themselves, unlike in a GRU (Ba et al., "Layer Normalization", 2016). Two things still do.
    Where h is near zero the normalisation divides by little, which `EPSILON` bounds; and the gradient of each step is
    proportional to the gains, which are weights, so that over many steps it can still grow as a power of them.

    Args:
        input_size: elements P of the input.
        hidden_size: elements h of the state.
        num_layers: layers L.
        method: how hidden weights are drawn.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int, method: Draw = "orthogonal") -> None:
        super().__init__()
        self.hidden_size, self.num_layers = hidden_size, num_layers
        self._method: Draw = method
        for layer in range(num_layers):
            for side, entering in (("ih", hidden_size if layer else input_size), ("hh", hidden_size)):
                weight = torch.empty(GATES * hidden_size, entering)
                self.register_parameter(f"weight_{side}_l{layer}", nn.Parameter(weight))
                for name in (f"gain_{side}_l{layer}", f"bias_{side}_l{layer}"):
                    self.register_parameter(name, nn.Parameter(torch.empty(GATES * hidden_size)))
        self.reset_parameters()

    def forward(self, input_FP: Tensor, hidden_LFh: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Take one time step, as `CarrierCell.forward`."""
        below_Fx, after = input_FP, []
        for layer, hidden_Fh in enumerate(self._states_before(input_FP, hidden_LFh)):
            from_input_FGh = self._normalised("ih", layer, below_Fx, hidden_Fh.dtype)
            from_state_FGh = self._normalised("hh", layer, hidden_Fh, hidden_Fh.dtype)
            reset_Fh, update_Fh = (from_input_FGh[:, :2] + from_state_FGh[:, :2]).sigmoid().unbind(dim=1)
            new_Fh = torch.addcmul(from_input_FGh[:, 2], reset_Fh, from_state_FGh[:, 2]).tanh()
            below_Fx = torch.lerp(new_Fh, hidden_Fh, update_Fh)
            after.append(below_Fx)
        return below_Fx, torch.stack(after)

    def _normalised(self, side: str, layer: int, values_Fx: Tensor, dtype: torch.dtype) -> Tensor:
        weight, gain, bias = (getattr(self, f"{part}_{side}_l{layer}") for part in ("weight", "gain", "bias"))
        size = self.hidden_size
        # Not in half precision: the square of what a large weight makes would overflow.
        gates_FGh = functional.linear(values_Fx, weight).to(dtype).view(-1, GATES, size)
        normed_FGh = functional.layer_norm(gates_FGh, (size,), eps=EPSILON)
        return torch.addcmul(bias.view(GATES, size), normed_FGh, gain.view(GATES, size))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Weights as a GRU's, unit gains, zero biases but for the update gate's hidden one, which is 1."""
        for name, parameter in self.named_parameters():
            if name.startswith("weight"):
                draw_gates_(parameter, GATES, self._method if name.startswith("weight_hh") else "xavier", generator)
            elif name.startswith("gain"):
                nn.init.ones_(parameter)
            else:
                nn.init.zeros_(parameter)
                if name.startswith("bias_hh"):
                    nn.init.ones_(parameter[self.hidden_size : 2 * self.hidden_size])
