"""Five tiny workloads on made-up data, each learnt well within its few hundred steps."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.rescue_study.training import Rows, Training

__all__ = ["WORKLOADS", "build"]

TRAIN_ROWS, HELD_OUT_ROWS = 1600, 1000
STEPS, WARMUP_STEPS = 400, 20


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of the rows whose largest output is the target."""
    return (outputs.argmax(1) == targets).float().mean()


def explained(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of the targets' variance that is explained (R²)."""
    return 1 - (outputs[:, 0] - targets).square().mean() / targets.var()


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error."""
    return nn.functional.mse_loss(outputs[:, 0], targets)


def warmup_cosine(step: int) -> float:
    """Linear warm-up, then a cosine down to a twentieth."""
    if step < WARMUP_STEPS:
        return (step + 1) / WARMUP_STEPS
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - WARMUP_STEPS) / (STEPS - WARMUP_STEPS))))


def build(name: str, seed: int) -> Training:
    """A workload with its weights and the order of its data drawn from `seed`; the rows are always the same."""
    torch.manual_seed(seed)
    return WORKLOADS[name](seed)


def _training(
    rows: tuple[Tensor, Tensor],
    model: nn.Module,
    optimizer: Optimizer,
    seed: int,
    *,
    objective: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy,
    metric: Callable[[Tensor, Tensor], Tensor] = accuracy,
) -> Training:
    inputs, targets = rows
    return Training(
        model=model,
        optimizer=optimizer,
        scheduler=LambdaLR(optimizer, warmup_cosine),
        train=Rows(inputs[HELD_OUT_ROWS:], targets[HELD_OUT_ROWS:]),
        held_out=Rows(inputs[:HELD_OUT_ROWS], targets[:HELD_OUT_ROWS]),
        batch_rows=32,
        steps=STEPS,
        objective=objective,
        metric=metric,
        generator=torch.Generator().manual_seed(seed),
    )


def clusters(seed: int) -> Training:
    """An MLP that tells 6 classes of 2 clusters each apart (Adam)."""
    draw = torch.Generator().manual_seed(1)
    centres = 1.4 * torch.randn(12, 12, generator=draw)
    which = torch.randint(12, (TRAIN_ROWS + HELD_OUT_ROWS,), generator=draw)
    inputs = centres[which] + torch.randn(len(which), 12, generator=draw)
    # One feature is a flag that few rows carry, and that says nothing.
    flag = (torch.rand(len(which), 1, generator=draw) < 0.12).float()
    inputs = torch.cat([inputs, flag], dim=1)
    model = nn.Sequential(nn.Linear(13, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 6))
    return _training((inputs, which % 6), model, Adam(model.parameters(), lr=3e-3), seed)


def surface(seed: int) -> Training:
    """An MLP that fits a smooth function of 4 variables (SGD with momentum)."""
    draw = torch.Generator().manual_seed(2)
    inputs = 2 * torch.rand(TRAIN_ROWS + HELD_OUT_ROWS, 4, generator=draw) - 1
    targets = torch.sin(2 * inputs[:, 0]) + inputs[:, 1] * inputs[:, 2] + inputs[:, 3].square()
    model = nn.Sequential(nn.Linear(4, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 1))
    optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9)
    return _training((inputs, targets), model, optimizer, seed, objective=squared_error, metric=explained)


class ReadsSequence(nn.Module):
    """A GRU that answers after the last token."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        # One entry of the vocabulary never occurs.
        self.embedding = nn.Embedding(tokens + 1, 12)
        self.gru = nn.GRU(12, 32, batch_first=True)
        self.head = nn.Linear(32, tokens)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits [B, tokens]."""
        outputs, _ = self.gru(self.embedding(tokens_BT))
        logits: Tensor = self.head(outputs[:, -1])
        return logits


def recall(seed: int) -> Training:
    """A GRU that recalls the first of 8 tokens (Adam)."""
    draw = torch.Generator().manual_seed(3)
    tokens = torch.randint(6, (TRAIN_ROWS + HELD_OUT_ROWS, 8), generator=draw)
    model = ReadsSequence(6)
    return _training((tokens, tokens[:, 0].clone()), model, Adam(model.parameters(), lr=1e-2), seed)


class Attends(nn.Module):
    """One attention layer over a padded sequence of (content, key) tokens; token 0 is padding."""

    def __init__(self, contents: int, length: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(2 * contents + 1, 24, padding_idx=0)
        self.position = nn.Parameter(0.1 * torch.randn(length, 24))
        self.norms = nn.ModuleList([nn.LayerNorm(24), nn.LayerNorm(24)])
        self.query_key_value = nn.Linear(24, 72)
        self.mix = nn.Linear(24, 24)
        self.feed = nn.Sequential(nn.Linear(24, 48), nn.GELU(), nn.Linear(48, 24))
        self.head = nn.Linear(24, contents)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits [B, contents]."""
        padding = tokens_BT == 0
        hidden = self.embedding(tokens_BT) + self.position
        query, key, value = self.query_key_value(self.norms[0](hidden)).chunk(3, dim=-1)
        scores = query @ key.transpose(1, 2) / math.sqrt(24)
        # A row of padding alone becomes NaN here, as it does in a good deal of code that is in use.
        weights = scores.masked_fill(padding[:, None, :], -math.inf).softmax(-1)
        hidden = hidden + self.mix(weights @ value)
        hidden = hidden + self.feed(self.norms[1](hidden))
        logits: Tensor = self.head(hidden.masked_fill(padding[:, :, None], 0).mean(1))
        return logits


def lookup(seed: int) -> Training:
    """A transformer block that finds the one marked token of a padded sequence (AdamW)."""
    draw = torch.Generator().manual_seed(4)
    rows, length, contents = TRAIN_ROWS + HELD_OUT_ROWS, 8, 6
    tokens = torch.randint(1, contents + 1, (rows, length), generator=draw)
    lengths = torch.randint(2, length + 1, (rows,), generator=draw)
    marked = (torch.rand(rows, generator=draw) * lengths).long()
    targets = tokens[torch.arange(rows), marked] - 1
    tokens[torch.arange(rows), marked] += contents
    tokens[torch.arange(length) >= lengths[:, None]] = 0
    model = Attends(contents, length)
    return _training((tokens, targets), model, AdamW(model.parameters(), lr=5e-3), seed)


def stripes(seed: int) -> Training:
    """A convolution with BatchNorm that tells 6 noisy textures apart (SGD with momentum)."""
    draw = torch.Generator().manual_seed(5)
    which = torch.randint(6, (TRAIN_ROWS + HELD_OUT_ROWS,), generator=draw)
    angle = which * math.pi / 6
    down, across = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    along = angle.cos()[:, None, None] * down + angle.sin()[:, None, None] * across
    shift = 6.28 * torch.rand(len(which), 1, 1, generator=draw)
    images = torch.sin(1.6 * along + shift) + 0.5 * torch.randn(len(which), 8, 8, generator=draw)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 5, padding=2, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(48, 6),
    )
    return _training((images[:, None], which), model, SGD(model.parameters(), lr=0.1, momentum=0.9), seed)


WORKLOADS: dict[str, Callable[[int], Training]] = {
    "clusters": clusters,
    "surface": surface,
    "recall": recall,
    "lookup": lookup,
    "stripes": stripes,
}
"""By name."""
