"""What every cell offers to the carrier.

Shape suffixes: F flows, P elements of the input, L layers, h hidden size.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

__all__ = ["CarrierCell"]


class CarrierCell(nn.Module):
    """A recurrence of L layers that all flows share, called for one time step at a time.

    A cell guards nothing: it is handed finite values, and what it gives is looked over by the carrier. Its parameters
    end in `_l0`, `_l1`, ... as torch's own do, and are its own, not those of modules within it: whoever finds one of
    them at fault then redraws the whole cell, by the cell's rule.
    """

    hidden_size: int
    num_layers: int

    is_recurrent_cell: ClassVar[bool] = True
    """How the supervisor's `modules: auto` knows a cell that is none of torch's."""

    output_is_hidden: ClassVar[bool] = True
    """Whether the output is the last layer's hidden state, so that whoever guards one has guarded both."""

    @abstractmethod
    def forward(self, input_FP: Tensor, hidden_LFh: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Take one time step.

        Args:
            input_FP: what each flow reads [F, P].
            hidden_LFh: the hidden state [L, F, h]; None for flows that start, which have zeros.

        Returns:
            The output [F, h] and the next hidden state [L, F, h].
        """

    def _states_before(self, input_FP: Tensor, hidden_LFh: Tensor | None) -> tuple[Tensor, ...]:
        """The state of each layer [F, h] before a step; the arguments are those of `forward`.

        It is in the type of the weights: under autocast in single precision, whatever type the flows came in.
        """
        dtype = next(self.parameters()).dtype
        if hidden_LFh is None:
            hidden_LFh = input_FP.new_zeros(self.num_layers, len(input_FP), self.hidden_size, dtype=dtype)
        return hidden_LFh.to(dtype).unbind()

    @abstractmethod
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Redraw all parameters in place, on any device.

        Args:
            generator: CPU generator to draw from; None draws from the global one.
        """
