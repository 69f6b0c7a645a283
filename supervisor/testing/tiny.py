"""A training that is built in a millisecond, steps in less, and is the same each time.

The only module of `supervisor.testing` that imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim import Adam

__all__ = ["Batch", "TinyNet", "TinyTrainer", "tiny_batches", "with_nan"]

FEATURES, CLASSES, ROWS = 4, 3, 8

Batch = tuple[Tensor, Tensor]
"""Inputs [ROWS, FEATURES] in float32 and classes [ROWS] in int64."""


class TinyNet(nn.Module):
    """Two layers with a BatchNorm between them, so that a forward pass changes buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(FEATURES, 5)
        self.norm = nn.BatchNorm1d(5)
        self.outer = nn.Linear(5, CLASSES)

    def forward(self, x_BF: Tensor) -> Tensor:
        """Logits [B, CLASSES] of inputs [B, FEATURES]."""
        logits_BC: Tensor = self.outer(torch.relu(self.norm(self.inner(x_BF))))
        return logits_BC


class TinyTrainer:
    """A `Trainer` over a `TinyNet` with Adam; building it leaves the global generators as they are.

    Args:
        seed: of the weights and of the batches.
        batches: how many there are in an epoch.
    """

    def __init__(self, seed: int = 0, batches: int = 16) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model: nn.Module = TinyNet()
        self.optimizer = Adam(self.model.parameters(), lr=0.01)
        self.data = tiny_batches(batches, seed=seed)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *, seed: int) -> Self:
        """As a job builds it; `config` may name the number of `batches`."""
        return cls(seed, **config)

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of a batch."""
        x_BF, y_B = batch
        return nn.functional.cross_entropy(self.model(x_BF), y_B)


def tiny_batches(count: int, *, seed: int = 0) -> list[Batch]:
    """Batches of a problem that a `TinyNet` can learn; nothing is drawn from the global generators."""
    generator = torch.Generator("cpu").manual_seed(seed)
    weights_FC = torch.randn(FEATURES, CLASSES, generator=generator, device="cpu")
    inputs = [torch.randn(ROWS, FEATURES, generator=generator, device="cpu") for _ in range(count)]
    return [(x_BF, (x_BF @ weights_FC).argmax(1)) for x_BF in inputs]


def with_nan(batch: Batch, row: int = 2) -> Batch:
    """A copy of the batch with one NaN, in the sample at `row`."""
    x_BF = batch[0].clone()
    x_BF[row, 1] = torch.nan
    return x_BF, batch[1]
