"""The linear recurrent unit: a diagonal recurrence of complex numbers, and a tanh on what is read from it.

Shape suffixes: F flows, P elements of the input, L layers, h hidden size: the real parts, then the imaginary ones.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from energy_flow.cells.base import CarrierCell
from energy_flow.stability import draw_gates_

__all__ = ["Lru"]

FASTEST, SLOWEST = 0.5, 0.99
"""Between these the eigenvalues of a fresh cell lie: what is left of a state after one step."""

WIDEST_PHASE = math.pi / 10
"""How far a fresh cell turns a state in one step at most, in radians."""

LOG_RATE_BOUNDS = (-8.0, 4.0)
"""Within these the logarithm of a decay rate is read: from 0.9997 left of a state after one step to nothing. Beyond
them float32 cannot tell an eigenvalue from 1, and the root in the input's gain has no finite slope."""


class Lru(CarrierCell):
    """x' = λ x + sqrt(1 - |λ|²) · (B u), y = tanh(C x' + b), with |λ| = exp(-exp(ν)) for each of h/2 complex numbers.

    What it does to a gradient: dx'/dx = diag(λ), and |λ| is below 1 whatever the weights are, so no number of steps
    makes a gradient of the state grow (Orvieto et al., "Resurrecting Recurrent Neural Networks for Long Sequences",
    2023). The state itself is a sum, within |B u| / (1 - |λ|), and not within ±1; the carrier's guard bounds it.
    Between layers C and B multiply a gradient, once for each layer, whatever the number of steps. Left out of the
    paper's unit: the feed-through D u, since the state of the same step has read u already, and the block around it.
    What the carrier does with the output, and reads again as its next input, is outside of the cell and of this bound.

    Args:
        input_size: elements P of the input.
        hidden_size: elements h of the state, an even number.
        num_layers: layers L.
    """

    output_is_hidden = False

    def __init__(self, input_size: int, hidden_size: int, num_layers: int) -> None:
        super().__init__()
        self.hidden_size, self.num_layers = hidden_size, num_layers
        for layer in range(num_layers):
            shapes = {
                "weight_ih": (hidden_size, hidden_size if layer else input_size),
                "log_rate": (hidden_size // 2,),
                "phase": (hidden_size // 2,),
                "weight_ho": (hidden_size, hidden_size),
                "bias_ho": (hidden_size,),
            }
            for name, shape in shapes.items():
                self.register_parameter(f"{name}_l{layer}", nn.Parameter(torch.empty(shape)))
        self.reset_parameters()

    def forward(self, input_FP: Tensor, hidden_LFh: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Take one time step, as `CarrierCell.forward`."""
        below_Fx, after = input_FP, []
        for layer, hidden_Fh in enumerate(self._states_before(input_FP, hidden_LFh)):
            drive_Fh = functional.linear(below_Fx, getattr(self, f"weight_ih_l{layer}")).to(hidden_Fh.dtype)
            state_Fh = self._turned(layer, hidden_Fh, drive_Fh)
            output_Fh = functional.linear(
                state_Fh, getattr(self, f"weight_ho_l{layer}"), getattr(self, f"bias_ho_l{layer}")
            )
            below_Fx = output_Fh.to(hidden_Fh.dtype).tanh()
            after.append(state_Fh)
        return below_Fx, torch.stack(after)

    def _turned(self, layer: int, hidden_Fh: Tensor, drive_Fh: Tensor) -> Tensor:
        """The next state: the old one decayed and turned, and what drives it."""
        rate = getattr(self, f"log_rate_l{layer}").clamp(*LOG_RATE_BOUNDS).exp()
        phase = getattr(self, f"phase_l{layer}")
        left, gain = (-rate).exp(), (-torch.expm1(-2.0 * rate)).sqrt()
        real, imaginary = left * phase.cos(), left * phase.sin()
        (x_Fc, y_Fc), (u_Fc, v_Fc) = hidden_Fh.chunk(2, dim=1), drive_Fh.chunk(2, dim=1)
        turned_x = torch.addcmul(real * x_Fc, imaginary, y_Fc, value=-1.0)
        turned_y = torch.addcmul(imaginary * x_Fc, real, y_Fc)
        return torch.cat((torch.addcmul(turned_x, gain, u_Fc), torch.addcmul(turned_y, gain, v_Fc)), dim=1)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Eigenvalues evenly over a ring, as in the paper; Xavier weights, zero biases."""
        for name, parameter in self.named_parameters():
            if name.startswith("weight"):
                draw_gates_(parameter, 2 if name.startswith("weight_ih") else 1, "xavier", generator)
            elif name.startswith("bias"):
                nn.init.zeros_(parameter)
            else:
                drawn = torch.rand(parameter.shape, generator=generator)
                if name.startswith("log_rate"):
                    square = drawn * (SLOWEST**2 - FASTEST**2) + FASTEST**2
                    drawn = (-0.5 * square.log()).log()
                else:
                    drawn = drawn * WIDEST_PHASE
                with torch.no_grad():
                    parameter.copy_(drawn)
