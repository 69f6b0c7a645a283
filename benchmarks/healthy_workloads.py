"""Small healthy trainings of many kinds: what a detector must leave alone."""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, LambdaLR, LRScheduler, OneCycleLR

__all__ = ["SHIFTED", "WORKLOADS", "Batch", "Workload", "classifier", "corpus", "digits", "mlp", "shuffled"]

Batch = tuple[Tensor, ...]


@dataclass
class Workload:
    """A training, ready for its first step.

    Attributes:
        model: with its initial weights.
        optimizer: over all of its parameters.
        scheduler: stepped once a step, or None.
        loss: batch -> scalar.
        batches: without end.
        partner: another half that takes a step after each of this one's, under a guard of its own.
    """

    model: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler | None
    loss: Callable[[Batch], Tensor]
    batches: Iterator[Batch]
    partner: Workload | None = None


@functools.cache
def digits() -> Batch:
    """1797 images [N, 64] between 0 and 1, and what they show [N]."""
    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    return torch.from_numpy(data.data).float()[order] / 16, torch.from_numpy(data.target).long()[order]


@functools.cache
def corpus() -> Tensor:
    """Some 50,000 characters of the standard library, as numbers below 96."""
    text = Path(argparse.__file__).read_text(encoding="utf-8")[:50_000]
    return torch.tensor([min(max(ord(c) - 31, 0), 95) for c in text])


def shuffled(x_NF: Tensor, y_N: Tensor, seed: int, size: Callable[[int], int], epoch: bool = True) -> Iterator[Batch]:
    """Shuffled batches; the size of each is given by its number."""
    generator, number, left = torch.Generator().manual_seed(seed), 0, torch.empty(0, dtype=torch.long)
    while True:
        wanted = size(number)
        if len(left) < wanted:
            left = torch.cat([left, torch.randperm(len(x_NF), generator=generator)])
        index, left = left[:wanted], left[wanted:]
        yield x_NF[index], y_N[index]
        number += 1


def mlp(inputs: int = 64, hidden: int = 64, outputs: int = 10, drop: float = 0.0) -> nn.Module:
    """Three layers with ReLU between them."""
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(drop), nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(drop),
        nn.Linear(hidden, outputs),
    )  # fmt: skip


def classifier(
    seed: int,
    *,
    size: Callable[[int], int] = lambda number: 32,
    optimizer: Callable[[nn.Module], Optimizer] = lambda model: Adam(model.parameters(), lr=1e-3),
    scheduler: Callable[[Optimizer], LRScheduler] | None = None,
    model: Callable[[], nn.Module] = mlp,
    rows: Batch | None = None,
    batches: Callable[[Tensor, Tensor, int], Iterator[Batch]] | None = None,
) -> Workload:
    """A network that classifies images, by default an MLP with Adam on the digits."""
    torch.manual_seed(seed)
    x, y = rows or digits()
    made = model()
    by = optimizer(made)

    def loss(batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(made(batch[0]), batch[1])

    drawn = shuffled(x, y, seed, size) if batches is None else batches(x, y, seed)
    return Workload(made, by, scheduler(by) if scheduler else None, loss, drawn)


def _curriculum(x: Tensor, y: Tensor, seed: int) -> Iterator[Batch]:
    """Two classes, then five, then all ten."""
    easy, middle = y < 2, y < 5
    parts = [shuffled(x[easy], y[easy], seed, lambda n: 32), shuffled(x[middle], y[middle], seed, lambda n: 32)]
    parts.append(shuffled(x, y, seed, lambda n: 32))
    for part, steps in zip(parts, (300, 400, 10**9), strict=True):
        for _ in range(steps):
            yield next(part)


def _harder(x: Tensor, y: Tensor, seed: int) -> Iterator[Batch]:
    """Images that come clean at first, and with more noise step by step."""
    generator = torch.Generator().manual_seed(seed)
    for number, (images, labels) in enumerate(shuffled(x, y, seed, lambda n: 32)):
        yield images + min(0.6, number / 1500) * torch.randn(images.shape, generator=generator), labels


def _longer(seed: int) -> Workload:
    """Text in pieces that grow from 4 to 16 characters, as a curriculum of lengths does."""
    workload = _language(seed, _Gru, lambda m: Adam(m.parameters(), lr=3e-3))
    full = workload.batches

    def batches() -> Iterator[Batch]:
        for number, (x, y) in enumerate(full):
            length = 4 if number < 400 else 8 if number < 800 else 16
            yield x[:, :length], y[:, :length]

    workload.batches = batches()
    return workload


def _noisy_shift(x: Tensor, y: Tensor, seed: int) -> Iterator[Batch]:
    """Clean images, then ever noisier ones."""
    generator = torch.Generator().manual_seed(seed)
    for number, (images, labels) in enumerate(shuffled(x, y, seed, lambda n: 32)):
        strength = 0.0 if number < 400 else 0.3 if number < 700 else 0.6
        yield images + strength * torch.randn(images.shape, generator=generator), labels


def _rare(seed: int) -> Batch:
    """Digits of which nine tenths are zeros and ones."""
    x, y = digits()
    common = (y < 2).nonzero()[:, 0].repeat(10)
    index = torch.cat([common, (y >= 2).nonzero()[:, 0][:400]])
    return x[index], y[index]


class _Gru(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(96, 24)
        self.gru = nn.GRU(24, 48, batch_first=True)
        self.head = nn.Linear(48, 96)

    def forward(self, x_BT: Tensor) -> Tensor:
        out: Tensor = self.head(self.gru(self.embedding(x_BT))[0])
        return out


class _Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(96, 32)
        self.position = nn.Parameter(0.02 * torch.randn(16, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 96)
        self.mask = nn.Transformer.generate_square_subsequent_mask(16)

    def forward(self, x_BT: Tensor) -> Tensor:
        out: Tensor = self.head(self.layers(self.embedding(x_BT) + self.position, mask=self.mask))
        return out


def _language(
    seed: int, model: type[nn.Module], optimizer: Callable[[nn.Module], Optimizer], scheduler: object = None
) -> Workload:
    torch.manual_seed(seed)
    text, made = corpus(), model()
    by = optimizer(made)
    generator = torch.Generator().manual_seed(seed)

    def batches() -> Iterator[Batch]:
        while True:
            start = torch.randint(0, len(text) - 17, (8, 1), generator=generator)
            rows = text[start + torch.arange(17)]
            yield rows[:, :-1], rows[:, 1:]

    def loss(batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(made(batch[0]).flatten(0, 1), batch[1].flatten())

    plan = scheduler(by) if callable(scheduler) else None
    return Workload(made, by, plan, loss, batches())


def _regression(seed: int, *, likelihood: bool = False, size: int = 32) -> Workload:
    """A smooth function with noise: squared error, or a Gaussian likelihood that goes below zero."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(8, generator=generator)
    made = mlp(8, 48, 2)
    by = Adam(made.parameters(), lr=2e-3)

    def batches() -> Iterator[Batch]:
        while True:
            x = torch.randn(size, 8, generator=generator)
            yield x, torch.sin(x @ weights) + 0.05 * torch.randn(size, generator=generator)

    def loss(batch: Batch) -> Tensor:
        mean, log_variance = made(batch[0]).unbind(-1)
        error = (mean - batch[1]).square()
        if not likelihood:
            return error.mean()
        log_variance = log_variance.clamp(-10, 10)
        return 0.5 * (log_variance + error * (-log_variance).exp()).mean()

    return Workload(made, by, None, loss, batches())


def _grown(number: int) -> int:
    return min(64, 2 ** (number // 200))


def _warm_up(by: Optimizer) -> LRScheduler:
    return LambdaLR(by, lambda step: min(1.0, (step + 1) / 100) * (0.5 * (1 + math.cos(math.pi * min(1, step / 1200)))))


def _memorised(seed: int) -> Workload:
    x, y = digits()
    return classifier(
        seed, rows=(x[:256], y[:256]), optimizer=lambda m: Adam(m.parameters(), lr=3e-3), size=lambda n: 16
    )


def _momentum(lr: float) -> Callable[[nn.Module], Optimizer]:
    return lambda model: SGD(model.parameters(), lr=lr, momentum=0.9)


WORKLOADS: dict[str, Callable[[int], Workload]] = {
    "batch size 1": lambda s: classifier(s, size=lambda n: 1),
    "batch size 4": lambda s: classifier(s, size=lambda n: 4),
    "batch size 64": lambda s: classifier(s, size=lambda n: 64),
    "growing batch": lambda s: classifier(s, size=_grown),
    "dropout 0.5": lambda s: classifier(s, model=lambda: mlp(drop=0.5)),
    "warm-up, cosine": lambda s: classifier(s, optimizer=_momentum(0.1), scheduler=_warm_up),
    "warm restarts": lambda s: classifier(
        s, optimizer=_momentum(0.1), scheduler=lambda by: CosineAnnealingWarmRestarts(by, 250)
    ),
    "warm restarts, Adam": lambda s: classifier(
        s,
        optimizer=lambda m: AdamW(m.parameters(), lr=1e-2),
        scheduler=lambda by: CosineAnnealingWarmRestarts(by, 100, T_mult=2, eta_min=1e-5),
    ),
    "one cycle": lambda s: classifier(
        s, optimizer=_momentum(0.01), scheduler=lambda by: OneCycleLR(by, max_lr=0.3, total_steps=1200)
    ),
    "curriculum: longer texts": _longer,
    "curriculum: ever more noise": lambda s: classifier(s, batches=_harder),
    "curriculum: noise in two jumps": lambda s: classifier(s, batches=_noisy_shift),
    "rare classes": lambda s: classifier(s, rows=_rare(s), size=lambda n: 8),
    "memorised": _memorised,
    "high-rate SGD": lambda s: classifier(s, optimizer=_momentum(0.2)),
    "regression": lambda s: _regression(s),
    "regression, batch 2": lambda s: _regression(s, size=2),
    "loss below zero": lambda s: _regression(s, likelihood=True),
    "GRU, text": lambda s: _language(s, _Gru, lambda m: Adam(m.parameters(), lr=3e-3)),
    "transformer, text": lambda s: _language(s, _Transformer, lambda m: AdamW(m.parameters(), lr=2e-3)),
}
"""Name -> a training by its seed."""

SHIFTED: dict[str, Callable[[int], Workload]] = {
    "classes never seen before": lambda s: classifier(s, batches=_curriculum),
}
"""Healthy trainings whose data change so abruptly that no number tells it from damage."""
