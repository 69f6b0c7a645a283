"""A trainer that runs as it is: two spirals, told apart by a small network. Change what is in it piece by piece."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

TRAINING_ROWS, HELD_OUT_ROWS, TURNS = 4000, 1000, 1.5


class MyConfig(BaseModel):
    """What `config:` in job.yaml may hold. A key that is not here, or of another type, is refused before the start."""

    model_config = ConfigDict(extra="forbid")

    hidden: int = 32
    batch_size: int = 64
    learning_rate: float = 3e-3


class MyTrainer:
    """What the supervisor needs: a model, an optimizer, data, and `loss`. All else is optional."""

    def __init__(self, config: MyConfig, seed: int, steps: int) -> None:
        # Everything is built here, under the job's seed. The supervisor moves the model and each batch to the device.
        self.model = nn.Sequential(
            nn.Linear(2, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, 2),
        )
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=config.learning_rate)
        # Optional, stepped once after each applied step.
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=steps)
        points, labels = two_spirals(TRAINING_ROWS + HELD_OUT_ROWS, seed)
        rows = TensorDataset(points[:TRAINING_ROWS], labels[:TRAINING_ROWS])
        # Any iterable of batches; it is begun again when it ends. This one shuffles, and resumes in the middle.
        self.data = DataLoader(rows, batch_size=config.batch_size, shuffle=True, drop_last=True)
        self.held_out = points[TRAINING_ROWS:], labels[TRAINING_ROWS:]

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *, seed: int, steps: int = 3000) -> MyTrainer:
        """Called with `config`, `seed` and `steps` of the job."""
        return cls(MyConfig.model_validate(config), seed, steps)

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The loss of one batch: a scalar with a graph. The supervisor calls `backward` and steps the optimizer.

        It may be called again to find out why a step went wrong.
        """
        points, labels = batch
        return nn.functional.cross_entropy(self.model(points), labels)

    def evaluate(self) -> dict[str, float]:
        """Optional: what the end of the run reports. `chance_accuracy` stands beside `accuracy` as its baseline."""
        points, labels = self.held_out
        device = next(self.model.parameters()).device
        self.model.eval()
        with torch.no_grad():
            right = self.model(points.to(device)).argmax(dim=1) == labels.to(device)
        self.model.train()
        return {"accuracy": right.float().mean().item(), "chance_accuracy": 0.5}


def two_spirals(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """The data: points [rows, 2] on two spirals that turn around each other, and which one each lies on [rows]."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(rows) % 2
    along = torch.rand(rows, generator=generator)
    angle = 2 * math.pi * TURNS * along + math.pi * labels
    noise = 0.02 * torch.randn(rows, 2, generator=generator)
    points = along[:, None] * torch.stack((angle.cos(), angle.sin()), dim=1) + noise
    return points, labels
