"""A healthy step reads numbers from its tensors once: on a device, that is one synchronisation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support.host_reads import host_reads, synchronisations
from torch import Tensor, nn
from torch.optim import AdamW

from supervisor import Guard

Loss = Callable[[Tensor], Tensor]

WITH_A_CHECK = {10, 20, 30, 40}
"""The steps at whose end the state is checked, which takes one more read."""


class Net(nn.Module):
    """Running statistics, a mask of -inf, and parameters of several types."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(8)
        self.linear = nn.Linear(8, 8)
        self.narrow = nn.Parameter(torch.ones(8, dtype=torch.bfloat16))
        self.wide = nn.Parameter(torch.ones(8, dtype=torch.float64))
        self.unused = nn.Parameter(torch.ones(1))
        self.register_buffer("mask", torch.full((8, 8), -torch.inf).triu(1))

    def forward(self, x_BF: Tensor) -> Tensor:
        mixed = self.linear(self.norm(x_BF)) @ self.mask.softmax(-1)
        return (mixed * self.narrow * self.wide).square().mean()


def training(device: str) -> tuple[Net, AdamW]:
    torch.manual_seed(0)
    model = Net().to(device)
    return model, AdamW(model.parameters(), lr=1e-3, foreach=True)


def test_of_what_is_on_the_host() -> None:
    model, optimizer = training("cpu")
    guard = Guard(model=model, optimizer=optimizer, loss=model, sanitized=lambda: torch.tensor(0))
    # The first one begins with a look at the initial state.
    guard.step(torch.randn(4, 8))
    for number in range(2, 41):
        batch = torch.randn(4, 8)
        with host_reads() as reads:
            outcome = guard.step(batch)
        assert outcome.applied
        own = bare_reads(optimizer)
        assert reads.count == 1 + own + (number in WITH_A_CHECK), number


def bare_reads(optimizer: AdamW) -> int:
    """Those of the optimizer itself, which reads its step counters."""
    with host_reads() as reads:
        optimizer.step()
    return reads.count


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_of_what_is_on_a_device() -> None:
    model, optimizer = training("cuda")
    guard = Guard(model=model, optimizer=optimizer, loss=model, sanitized=lambda: torch.zeros((), device="cuda"))
    # The first one begins with a look at the initial state.
    guard.step(torch.randn(4, 8, device="cuda"))
    for number in range(2, 41):
        batch = torch.randn(4, 8, device="cuda")
        with synchronisations() as found:
            outcome = guard.step(batch)
        assert outcome.applied
        assert len(found) == 1 + (number in WITH_A_CHECK), (number, found)


def test_what_counts() -> None:
    tensor = torch.ones(2)
    with host_reads() as reads:
        tensor.sum().item()
        bool(tensor.any())
        float(tensor[0])
        tensor.tolist()
        torch.equal(tensor, tensor)
    assert reads.count == 5
