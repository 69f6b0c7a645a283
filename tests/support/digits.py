"""scikit-learn's digits, read row by row by a GRU: 8 time steps of 8 pixels."""

from __future__ import annotations

import functools
import math

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from support.exact import seed_all
from support.training import Training

__all__ = ["DigitsGru", "accuracy", "digits", "digits_training", "train_rows"]

HELD_OUT = 397


@functools.cache
def digits() -> tuple[Tensor, Tensor]:
    """Images [N, 8, 8] in [0, 1] and labels [N], shuffled once."""
    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    images_N88 = torch.from_numpy(data.images).float()[order] / 16
    return images_N88, torch.from_numpy(data.target).long()[order]


def train_rows() -> tuple[Tensor, Tensor]:
    """The 1,400 training rows; the rest are held out."""
    images, labels = digits()
    return images[:-HELD_OUT].clone(), labels[:-HELD_OUT].clone()


class DigitsGru(nn.Module):
    """A GRU classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(8, 32, batch_first=True)
        self.head = nn.Linear(32, 10)

    def forward(self, images_B88: Tensor) -> Tensor:
        outputs, _ = self.gru(images_B88)
        logits: Tensor = self.head(outputs[:, -1])
        return logits


def digits_training(*, seed: int = 0, lr: float = 5e-3) -> Training:
    """The classifier with Adam and no scheduler."""
    seed_all(seed)
    model = DigitsGru()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)

    def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    return Training(model, optimizer, None, loss)


@torch.no_grad()
def accuracy(model: nn.Module) -> float:
    """Share of the held-out digits that are told right."""
    images, labels = digits()
    found = model(images[-HELD_OUT:]).argmax(1)
    share = float((found == labels[-HELD_OUT:]).float().mean())
    assert math.isfinite(share)
    return share
