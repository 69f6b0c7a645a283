"""Small healthy trainings that go on for 50,000 steps and more: what a guard must leave alone for days.

Each takes about a millisecond a step on one core. The data are made up, and are drawn by a `DataLoader` over rows that
have indices, so that single rows can be spoilt and left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, ExponentialLR, LRScheduler
from torch.utils.data import DataLoader, Dataset

from benchmarks.pole import LONGEST, episodes

__all__ = ["LONG_WORKLOADS", "LongWorkload", "Rows"]

Batch = tuple[Tensor, ...]


class Rows(Dataset[Batch]):
    """Rows of a few tensors, handed out a batch at a time.

    Args:
        columns: each [N, ...]; the first holds floats.
    """

    def __init__(self, columns: Sequence[Tensor]) -> None:
        self.columns = tuple(columns)

    def __len__(self) -> int:
        return len(self.columns[0])

    def __getitem__(self, index: int) -> Batch:
        return tuple(column[index] for column in self.columns)

    def __getitems__(self, indices: list[int]) -> Batch:
        chosen = torch.tensor(indices)
        return tuple(column[chosen] for column in self.columns)

    def with_nan(self, indices: Sequence[int]) -> Rows:
        """A copy in which the first column of these rows is NaN."""
        first = self.columns[0].clone()
        first[list(indices)] = math.nan
        return Rows((first, *self.columns[1:]))


@dataclass(slots=True)
class LongWorkload:
    """A training, ready for its first step.

    Attributes:
        model: with its initial weights.
        optimizers: over all of its parameters; each steps once a step.
        loss: batch -> scalar.
        rows: what it is trained on.
        score: the metric on held-out data, with the model in eval mode.
        metric: what the score is.
        batch_rows: rows in a batch.
        scheduler: stepped once a step, or None.
    """

    model: nn.Module
    optimizers: list[Optimizer]
    loss: Callable[[Batch], Tensor]
    rows: Rows
    score: Callable[[], float]
    metric: str
    batch_rows: int = 16
    scheduler: LRScheduler | None = None

    def data(self, seed: int) -> DataLoader[Batch]:
        """Shuffled epochs of whole batches."""
        generator = torch.Generator().manual_seed(seed)
        return DataLoader(
            self.rows, self.batch_rows, shuffle=True, drop_last=True, collate_fn=lambda rows: rows, generator=generator
        )

    def final_score(self) -> float:
        """The metric on held-out data; NaN where the model gives no number."""
        self.model.eval()
        with torch.no_grad():
            return self.score()


def _mlp(sizes: Sequence[int], activation: type[nn.Module], drop: float = 0.0) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), activation()]
        if drop:
            layers.append(nn.Dropout(drop))
    return nn.Sequential(*layers[: -2 if drop else -1])


def _accuracy(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], float]:
    return lambda: float((model(x).argmax(1) == y).float().mean())


def _regression(seed: int, *, noise: float, batch_rows: int) -> LongWorkload:
    """Four variables to one; without noise, at a rate that falls, the loss goes far below 1e-4."""
    draw = torch.Generator().manual_seed(10)
    inputs = 2 * torch.rand(3048, 4, generator=draw) - 1
    clean = torch.sin(2 * inputs[:, 0]) + inputs[:, 1] * inputs[:, 2] + inputs[:, 3].square()
    targets = clean[1000:] + noise * torch.randn(2048, generator=draw)
    torch.manual_seed(seed)
    model = _mlp((4, 32, 32, 1), nn.Tanh)

    def score() -> float:
        return float(nn.functional.mse_loss(model(inputs[:1000])[:, 0], clean[:1000]))

    def loss(batch: Batch) -> Tensor:
        return nn.functional.mse_loss(model(batch[0])[:, 0], batch[1])

    rows, by = Rows((inputs[1000:], targets)), Adam(model.parameters(), lr=2e-3)
    falling = None if noise else ExponentialLR(by, 0.99995)
    return LongWorkload(model, [by], loss, rows, score, "squared error", batch_rows, falling)


def _images(classes: int, noise: float, wrong: float = 0.0) -> tuple[Rows, Tensor, Tensor]:
    """Made-up images of 8 x 8, some with a wrong label in training: 1024 rows, and 1000 held-out ones."""
    draw = torch.Generator().manual_seed(11)
    y = torch.randint(classes, (2024,), generator=draw)
    x = torch.randn(classes, 64, generator=draw)[y] + noise * torch.randn(2024, 64, generator=draw)
    seen = torch.where(torch.rand(2024, generator=draw) < wrong, torch.randint(classes, (2024,), generator=draw), y)
    return Rows((x[1000:], seen[1000:])), x[:1000], y[:1000]


def _by_heart(seed: int, *, drop: float) -> LongWorkload:
    """Images learnt until hardly any loss is left."""
    rows, x, y = _images(10, noise=1.5)
    torch.manual_seed(seed)
    model = _mlp((64, 48, 48, 10), nn.ReLU, drop)

    def loss(batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    return LongWorkload(model, [Adam(model.parameters(), lr=1e-3)], loss, rows, _accuracy(model, x, y), "accuracy", 32)


def _warm_restarts(seed: int) -> LongWorkload:
    """One label in ten is drawn at random, and the rate starts anew every 1000 steps."""
    rows, x, y = _images(10, noise=1.5, wrong=0.1)
    torch.manual_seed(seed)
    model = _mlp((64, 48, 10), nn.ReLU)
    by = SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)

    def loss(batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    restarts = CosineAnnealingWarmRestarts(by, 1000)
    return LongWorkload(model, [by], loss, rows, _accuracy(model, x, y), "accuracy", 32, restarts)


class _Attends(nn.Module):
    """One causal attention block over characters."""

    def __init__(self, characters: int, length: int, width: int = 24) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, width)
        self.position = nn.Parameter(0.1 * torch.randn(length, width))
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.query_key_value = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.head = nn.Linear(width, characters)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits [B, T, characters]."""
        hidden = self.embedding(tokens_BT) + self.position
        query, key, value = self.query_key_value(self.norms[0](hidden)).chunk(3, dim=-1)
        hidden = hidden + self.mix(nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True))
        logits: Tensor = self.head(hidden + self.feed(self.norms[1](hidden)))
        return logits


def _corpus(rows: int, length: int, characters: int) -> Tensor:
    """Texts in which each character depends on the two before it [rows, length]."""
    draw = torch.Generator().manual_seed(12)
    chances = (2 * torch.randn(characters, characters, characters, generator=draw)).softmax(-1)
    text = torch.randint(characters, (rows, length), generator=draw)
    for place in range(2, length):
        text[:, place] = torch.multinomial(chances[text[:, place - 2], text[:, place - 1]], 1, generator=draw)[:, 0]
    return text


def _language(seed: int) -> LongWorkload:
    """Characters of a made-up language. A row is a weight and a text."""
    text = _corpus(5096, 13, 12)
    torch.manual_seed(seed)
    model = _Attends(12, 12)

    def loss(batch: Batch) -> Tensor:
        weight_B, text_BT = batch
        wanted = text_BT[:, 1:].flatten()
        loss = nn.functional.cross_entropy(model(text_BT[:, :-1]).flatten(0, 1), wanted, reduction="none")
        return (weight_B[:, None] * loss.view(len(weight_B), -1)).mean()

    def score() -> float:
        return float(nn.functional.cross_entropy(model(text[:1000, :-1]).mT, text[:1000, 1:]))

    rows = Rows((torch.ones(4096), text[1000:]))
    return LongWorkload(model, [AdamW(model.parameters(), lr=2e-3, fused=True)], loss, rows, score, "cross-entropy", 4)


def _batch_norm(seed: int) -> LongWorkload:
    """A convolution with BatchNorm that tells noisy textures apart."""
    draw = torch.Generator().manual_seed(13)
    y = torch.randint(6, (2024,), generator=draw)
    down, across = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    angle = (y * math.pi / 6)[:, None, None]
    shift = 2 * math.pi * torch.rand(2024, 1, 1, generator=draw)
    waves = torch.sin(1.6 * (angle.cos() * down + angle.sin() * across) + shift)
    x = (waves + 0.8 * torch.randn(2024, 8, 8, generator=draw))[:, None]
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(32, 6),
    )  # fmt: skip

    def loss(batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    by = SGD(model.parameters(), lr=0.05, momentum=0.9)
    rows = Rows((x[1000:], y[1000:]))
    return LongWorkload(model, [by], loss, rows, _accuracy(model, x[:1000], y[:1000]), "accuracy", 16)


def _balancing(seed: int) -> LongWorkload:
    """An actor and critic whose loss is summed over episodes that grow longer. A row is the seed of an episode."""
    numbers = np.stack([np.random.default_rng(number).random(2 + LONGEST) for number in range(2248)])
    numbers[:, :2] = numbers[:, :2] - 0.5
    all_rows = torch.from_numpy(numbers).float()
    torch.manual_seed(seed)
    model = _mlp((2, 16, 2), nn.Tanh)

    def loss(batch: Batch) -> Tensor:
        states, choices, standing = episodes(model, batch[0].numpy())
        alive_TB = torch.from_numpy(standing).float()
        # Each step that the pole stands earns a tenth.
        return_TB = 0.1 * alive_TB.flip(0).cumsum(0).flip(0)
        logit_TB, value_TB = model(torch.from_numpy(states).float()).unbind(-1)
        chosen = nn.functional.binary_cross_entropy_with_logits(
            logit_TB, torch.from_numpy(choices).float(), reduction="none"
        )
        error_TB = return_TB - value_TB
        total: Tensor = (alive_TB * (chosen * error_TB.detach() + 0.5 * error_TB.square())).sum()
        return total / len(batch[0])

    def score() -> float:
        return float(episodes(model, all_rows[:200].numpy())[2].sum(0).mean())

    rows = Rows((all_rows[200:],))
    return LongWorkload(model, [Adam(model.parameters(), lr=1e-3, fused=True)], loss, rows, score, "steps survived", 8)


def _adversaries(seed: int) -> LongWorkload:
    """A generator of points and its judge, each with an optimizer: both losses in one, neither reaching the other."""
    draw = torch.Generator().manual_seed(14)
    centre = 1.5 * torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])[torch.randint(4, (3048,), generator=draw)]
    points = centre + 0.3 * torch.randn(3048, 2, generator=draw)
    latent = torch.randn(1000, 4, generator=draw)
    torch.manual_seed(seed)
    generator, judge = _mlp((4, 32, 32, 2), nn.ReLU), _mlp((2, 32, 32, 1), nn.ReLU)
    by: list[Optimizer] = [
        Adam(half.parameters(), lr=3e-4, betas=(0.5, 0.999), fused=True) for half in (generator, judge)
    ]

    def loss(batch: Batch) -> Tensor:
        made = generator(torch.randn(len(batch[0]), 4))
        judged = judge(torch.cat([batch[0], made.detach()]))[:, 0]
        real, fake = judged.chunk(2)
        fixed = {name: weight.detach() for name, weight in judge.named_parameters()}
        fools = functional_call(judge, fixed, (made,))[:, 0]
        softplus = nn.functional.softplus
        mean: Tensor = (softplus(-real) + softplus(fake) + softplus(-fools)).mean()
        return mean

    def score() -> float:
        made, held = generator(latent), points[:1000]
        apart = torch.cdist(made, held).mean() - 0.5 * (torch.cdist(made, made).mean() + torch.cdist(held, held).mean())
        return float(apart)

    model = nn.ModuleDict({"generator": generator, "judge": judge})
    return LongWorkload(model, by, loss, Rows((points[1000:],)), score, "energy distance", 32)


LONG_WORKLOADS: dict[str, Callable[[int], LongWorkload]] = {
    "exact regression": lambda seed: _regression(seed, noise=0.0, batch_rows=32),
    "noisy regression": lambda seed: _regression(seed, noise=0.5, batch_rows=8),
    "learnt by heart": lambda seed: _by_heart(seed, drop=0.0),
    "dropout 0.3": lambda seed: _by_heart(seed, drop=0.3),
    "warm restarts": _warm_restarts,
    "language model": _language,
    "convolution, BatchNorm": _batch_norm,
    "actor and critic": _balancing,
    "GAN": _adversaries,
}
"""Name -> a training by its seed."""
