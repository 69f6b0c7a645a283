"""Faults of configuration that no setting of the guard was chosen by: they are reported apart."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.rescue_study.cases import Case, Kind
from benchmarks.rescue_study.configuration import initial_weights, rate_times
from benchmarks.rescue_study.training import Rows, Training
from benchmarks.rescue_study.workloads import warmup_cosine

__all__ = ["HELD_OUT"]


def momentum_of(momentum: float) -> Any:
    """So much momentum, at the rate that was chosen for 0.9."""

    def spoil(training: Training) -> None:
        for group in training.optimizer.param_groups:
            group["momentum"] = momentum

    return spoil


def epsilon_of(eps: float) -> Any:
    """Adam's eps is this."""

    def spoil(training: Training) -> None:
        for group in training.optimizer.param_groups:
            group["eps"] = eps

    return spoil


def half_weights(training: Training) -> None:
    """Weights and moments in fp16, where Adam's eps of 1e-8 is zero."""
    training.model.half()
    training.train = Rows(training.train.inputs.half(), training.train.targets)
    training.held_out = Rows(training.held_out.inputs.half(), training.held_out.targets)
    training.optimizer = Adam(training.model.parameters(), lr=training.optimizer.param_groups[0]["initial_lr"])
    training.scheduler = LambdaLR(training.optimizer, warmup_cosine)


class Recurrent(nn.Module):
    """In place of a GRU: a plain recurrence, whose gradients grow with the length."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.cell = nn.RNN(inputs, hidden, nonlinearity="relu", batch_first=True)
        nn.init.eye_(self.cell.get_parameter("weight_hh_l0"))

    def forward(self, x_BTF: Tensor) -> tuple[Tensor, None]:
        """Outputs [B, T, hidden]."""
        outputs: Tensor = self.cell(x_BTF)[0]
        return outputs, None


def without_clipping(training: Training) -> None:
    """A plain recurrence under SGD, at a rate at which it learns with clipping to a norm of 1."""
    training.model.gru = Recurrent(12, 32)
    training.optimizer = SGD(training.model.parameters(), lr=0.1, momentum=0.9)
    training.scheduler = LambdaLR(training.optimizer, warmup_cosine)


def _case(name: str, workload: str, spoil: Any) -> Case:
    return Case(name, Kind.HELD_OUT, workload, spoil)


HELD_OUT: tuple[Case, ...] = (
    _case("learning rate times 100 (Adam, GRU)", "recall", rate_times(100)),
    _case("momentum 0.99 (SGD)", "surface", momentum_of(0.99)),
    _case("initial weights times 10 (tanh)", "surface", initial_weights(10)),
    _case("a plain recurrence without clipping", "recall", without_clipping),
    _case("eps of 1e-8 in half precision", "clusters", half_weights),
    _case("eps of 1 (Adam)", "recall", epsilon_of(1.0)),
)
