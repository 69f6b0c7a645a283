"""The trainings that `overhead.py` measures the guard on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["WORKLOADS", "Batch", "Workload"]

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Workload:
    """A training to measure.

    Attributes:
        name: as it stands in the table.
        build: makes the model and gives the loss over its output.
        batch: draws one batch.
        steps: steps that count, a multiple of 20, where no other number is asked for.
        turn_steps: steps until the next contender's turn; many short ones, so that caches are warm for most of them.
        accumulate: batches an update.
        bfloat16: the forward pass runs under autocast.
    """

    name: str
    build: Callable[[], nn.Module]
    batch: Callable[[], Batch]
    steps: int
    turn_steps: int = 5
    accumulate: int = 1
    bfloat16: bool = False


class Recurrent(nn.Module):
    """A GRU and a linear head on its last output."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.gru = nn.GRU(inputs, hidden, num_layers=2, batch_first=True)
        self.head = nn.Linear(hidden, inputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, inputs] -> [B, inputs]."""
        output: Tensor = self.gru(x)[0][:, -1]
        return self.head(output)  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """Encoder layers over tokens; 99 parameter tensors with eight of them, 27 with two."""

    def __init__(self, tokens: int, width: int, layers: int = 8) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, tokens)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T] -> [B, tokens]."""
        return self.head(self.encoder(self.embedding(x)).mean(1))  # type: ignore[no-any-return]


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 128))


def _sequences(batch: int, length: int, inputs: int) -> Callable[[], Batch]:
    return lambda: (torch.randn(batch, length, inputs), torch.randn(batch, inputs))


def _tokens(batch: int, length: int) -> Callable[[], Batch]:
    return lambda: (torch.randint(256, (batch, length)), torch.randn(batch, 256))


WORKLOADS = (
    Workload("GRU, 1M parameters", lambda: Recurrent(64, 320), _sequences(32, 16, 64), 160),
    Workload("GRU, 10M parameters", lambda: Recurrent(128, 1024), _sequences(32, 16, 128), 60),
    Workload("transformer, 99 tensors", lambda: Transformer(256, 128), _tokens(16, 32), 100),
    Workload("MLP", _mlp, lambda: (torch.randn(64, 128), torch.randn(64, 128)), 2000, turn_steps=50),
    Workload(
        "transformer, bfloat16 autocast, 4 batches an update",
        lambda: Transformer(256, 128, 2),
        _tokens(8, 16),
        300,
        accumulate=4,
        bfloat16=True,
    ),
)
