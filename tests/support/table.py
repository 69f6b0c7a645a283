"""A trainer over a table of rows, some of which are bad, as a user writes one; and a few ways to write it wrong."""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

__all__ = ["Table"]


class Config(BaseModel):
    """What the table is like.

    Attributes:
        rows: how many.
        batch_size: rows a batch; the last one may be smaller.
        nan, infinite, torn, far: rows with a NaN, with an infinite target, that raise, that are a thousand times too
            large.
        fault: what is wrong with the program.
        workers: processes of the loader.
    """

    model_config = ConfigDict(extra="forbid")

    rows: int = 320
    batch_size: int = 32
    nan: list[int] = []
    infinite: list[int] = []
    torn: list[int] = []
    far: list[int] = []
    fault: str = ""
    workers: int = 0


class Rows(Dataset[tuple[Tensor, Tensor]]):
    """Row i: six numbers and their sum."""

    def __init__(self, config: Config) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(config.rows, 6, generator=generator)
        self.y = self.x.sum(1, keepdim=True)
        self.x[config.far] *= 1000
        self.x[config.nan, 2] = math.nan
        self.y[config.infinite] = math.inf
        self.torn = frozenset(config.torn)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if index in self.torn:
            raise ValueError(f"row {index} is torn")
        return self.x[index], self.y[index]


class Table:
    """Fits a small network with a BatchNorm to the sums."""

    def __init__(self, config: Config) -> None:
        self.config = config
        if config.fault == "build":
            raise RuntimeError("no such luck")
        if config.fault == "exit":
            sys.exit(0)
        if config.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        self.model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.01)
        loader = DataLoader(Rows(config), batch_size=config.batch_size, shuffle=True, num_workers=config.workers)
        self.data: Any = [*loader] if config.fault == "list" else loader
        if config.fault == "length":
            self.data = DataLoader(Rows(config), sampler=Broken())
        self.seen: list[float] = []

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *, seed: int) -> Self:
        """As a job builds it."""
        return cls(Config.model_validate(config))

    def loss(self, batch: tuple[Tensor, Tensor]) -> Any:
        """The squared error."""
        x, y = batch
        self.seen += y.flatten().tolist()
        loss = (self.model(x) - y).square().mean()
        match self.config.fault:
            case "raises":
                raise IndexError("index 7 is out of range")
            case "tuple":
                return loss, loss
            case "nan_loss":
                return loss * math.nan
        return loss

    def evaluate(self) -> dict[str, Any]:
        """Something to report."""
        if self.config.fault == "evaluate":
            raise KeyError("mrr")
        return {"square": 0.5}


class Broken:
    """A sampler that raises."""

    def __iter__(self) -> Iterator[int]:
        raise OSError("the index is torn")

    def __len__(self) -> int:
        return 5
