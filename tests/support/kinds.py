"""Trainings of every kind that people bring: models, parameters and optimizers out of the ordinary."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.optim import SGD, Adagrad, Adam, AdamW, SparseAdam

from support.exact import seed_all
from support.training import Training

__all__ = ["KINDS", "batches", "kind", "plain_steps", "spoilt"]

FEATURES, CLASSES, ROWS, WORDS = 6, 3, 8, 10

Batch = tuple[Tensor, Tensor, Tensor, float]
Made = tuple[nn.Module, Any]


def batches(count: int) -> list[Batch]:
    """Features, words, labels and a factor of the loss; nothing is drawn from the global generators."""
    generator = torch.Generator().manual_seed(3)
    return [
        (
            torch.randn(ROWS, FEATURES, generator=generator),
            torch.randint(WORDS, (ROWS, 4), generator=generator),
            torch.randint(CLASSES, (ROWS,), generator=generator),
            1.0,
        )
        for _ in range(count)
    ]


def spoilt(batch: Batch) -> Batch:
    """The batch with one NaN among its features and a NaN for a factor."""
    x_BF = batch[0].clone()
    x_BF[2, 1] = math.nan
    return x_BF, batch[1], batch[2], math.nan


class Layers(nn.Module):
    """Two layers, with room for something between them."""

    def __init__(self, between: nn.Module | None = None) -> None:
        super().__init__()
        self.inner = nn.Linear(FEATURES, 8)
        self.between = between or nn.Tanh()
        self.outer = nn.Linear(8, CLASSES)

    def forward(self, x_BF: Tensor, words_BL: Tensor) -> Tensor:
        logits: Tensor = self.outer(self.between(self.inner(x_BF.to(self.inner.weight.dtype))))
        return logits


class Words(nn.Module):
    """A sparse embedding before a layer."""

    def __init__(self, *, sparse: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 5, sparse=sparse)
        self.outer = nn.Linear(5, CLASSES)

    def forward(self, x_BF: Tensor, words_BL: Tensor) -> Tensor:
        logits: Tensor = self.outer(self.embedding(words_BL).mean(1))
        return logits


class Channels(nn.Module):
    """Normalisation over channels."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm, self.outer = nn.Conv2d(1, 3, (1, 2)), norm, nn.Linear(15, CLASSES)

    def forward(self, x_BF: Tensor, words_BL: Tensor) -> Tensor:
        logits: Tensor = self.outer(self.norm(self.conv(x_BF[:, None, None])).flatten(1))
        return logits


class RunningMax(nn.Module):
    """A buffer of the user's own, replaced in every forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("largest", torch.zeros(8))

    def forward(self, x_BH: Tensor) -> Tensor:
        self.largest = torch.maximum(self.largest, x_BH.detach().abs().amax(0))
        return x_BH / (1 + self.largest)


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(FEATURES, CLASSES, dtype=torch.complex64))

    def forward(self, x_BF: Tensor, words_BL: Tensor) -> Tensor:
        return (x_BF.to(torch.complex64) @ self.weight).abs()


class Mixed(Layers):
    """Every floating type in one model, a parameter without elements and one that nothing uses."""

    def __init__(self) -> None:
        super().__init__()
        self.inner.to(torch.float64)
        self.between = nn.Linear(8, 8).to(torch.bfloat16)
        self.gain = nn.Parameter(torch.ones(CLASSES, dtype=torch.float16))
        self.empty = nn.Parameter(torch.zeros(0, 4))
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, x_BF: Tensor, words_BL: Tensor) -> Tensor:
        hidden_BH = torch.tanh(self.between(self.inner(x_BF.double()).bfloat16())).float()
        logits: Tensor = self.outer(hidden_BH) * self.gain + self.empty.sum()
        return logits


class Wrapper(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Tensor:
        logits: Tensor = self.module(*inputs)
        return logits


def tied() -> nn.Module:
    model = Layers(nn.Linear(8, 8))
    model.outer, second = nn.Linear(8, 8), nn.Linear(8, 8)
    second.weight = model.between.weight  # type: ignore[assignment]
    model.outer = nn.Sequential(nn.Tanh(), second, nn.Linear(8, CLASSES))  # type: ignore[assignment]
    return model


def frozen() -> nn.Module:
    model = Layers(nn.BatchNorm1d(8))
    model.inner.requires_grad_(False)
    return model


def normed_weights(norm: Callable[[nn.Module], nn.Module]) -> nn.Module:
    model = Layers()
    norm(model.inner)
    return model


def two(model: nn.Module) -> list[Any]:
    """One optimizer for the first module, another for the rest."""
    first, *rest = model.children()
    return [
        SGD(first.parameters(), lr=0.05, momentum=0.9),
        AdamW([p for module in rest for p in module.parameters()], lr=0.01),
    ]


def sparse(kind: Callable[..., Any]) -> Made:
    model = Words()
    return model, [kind([model.embedding.weight], lr=0.1), Adam(model.outer.parameters(), lr=0.01)]


def one_sparse(kind: Callable[..., Any]) -> Made:
    model = Words()
    return model, kind(model.parameters(), lr=0.1)


def muon() -> Made:
    model = Layers()
    flat = [p for p in model.parameters() if p.dim() != 2]
    return model, [torch.optim.Muon([p for p in model.parameters() if p.dim() == 2], lr=0.01), Adam(flat, lr=0.01)]


def beyond_the_model() -> Made:
    """The optimizer holds a temperature that is no part of the model."""
    model = Layers()
    model.temperature = [nn.Parameter(torch.ones(1))]  # type: ignore[assignment]
    forward = model.forward
    model.forward = lambda *inputs: forward(*inputs) * model.temperature[0]  # type: ignore[method-assign,operator,index]
    return model, Adam([*model.parameters(), *model.temperature], lr=0.01)  # type: ignore[misc]


def part_of_the_model() -> Made:
    model = Layers(nn.BatchNorm1d(8))
    return model, Adam(model.outer.parameters(), lr=0.01)


def with_adam(model: nn.Module, **options: Any) -> Made:
    return model, Adam(model.parameters(), lr=options.pop("lr", 0.01), **options)


def with_sgd(model: nn.Module) -> Made:
    return model, SGD(model.parameters(), lr=0.05, momentum=0.9)


def plain(kind: Callable[..., Any], **options: Any) -> Callable[[], Made]:
    def make() -> Made:
        model = Layers(nn.BatchNorm1d(8))
        return model, kind(model.parameters(), **options)

    return make


def tensor_rate() -> Made:
    return with_adam(Layers(), lr=torch.tensor(0.01))


DENSE = ("ASGD", "Adadelta", "Adafactor", "Adagrad", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop")

KINDS: dict[str, Callable[[], Made]] = {
    **{name: plain(getattr(torch.optim, name)) for name in DENSE},
    "Adam amsgrad": plain(Adam, amsgrad=True),
    "SGD fused": plain(SGD, lr=0.05, momentum=0.9, fused=True),
    "Adagrad fused": plain(Adagrad, fused=True),
    **{f"AdamW {how}": plain(AdamW, **{how: True}) for how in ("fused", "foreach")},
    "AdamW for-loop": plain(AdamW, foreach=False),
    "Muon and Adam": muon,
    "two optimizers": lambda: (lambda model: (model, two(model)))(Layers(nn.BatchNorm1d(8))),
    "tensor learning rate": tensor_rate,
    "sparse: SparseAdam and Adam": lambda: sparse(SparseAdam),
    "sparse: SGD": lambda: one_sparse(SGD),
    "sparse: Adagrad": lambda: one_sparse(Adagrad),
    "complex parameters": lambda: with_adam(Complex()),
    "bfloat16": lambda: with_adam(Layers().to(torch.bfloat16)),
    "float16": lambda: with_sgd(Layers().to(torch.float16)),
    "float64": lambda: with_adam(Layers().to(torch.float64)),
    "mixed types": lambda: with_sgd(Mixed()),
    "tied weights": lambda: with_adam(tied()),
    "frozen modules": lambda: with_adam(frozen()),
    "parameters outside the optimizer": part_of_the_model,
    "parameters outside the model": beyond_the_model,
    "a wrapper": lambda: with_adam(Wrapper(Layers(nn.BatchNorm1d(8)))),
    "BatchNorm2d": lambda: with_adam(Channels(nn.BatchNorm2d(3))),
    "InstanceNorm": lambda: with_adam(Channels(nn.InstanceNorm2d(3, track_running_stats=True))),
    "running maximum": lambda: with_adam(Layers(RunningMax())),
    "weight_norm": lambda: with_adam(normed_weights(parametrizations.weight_norm)),
    "spectral_norm": lambda: with_adam(normed_weights(parametrizations.spectral_norm)),
}


def kind(name: str) -> Training:
    """The training of a kind, the same each time; the generators are seeded too."""
    seed_all(0)
    model, optimizer = KINDS[name]()
    return training_of(model, optimizer)


def training_of(model: nn.Module, optimizer: Any, forward: Callable[..., Tensor] | None = None) -> Training:
    """A training of a model of this file; `forward` calls it, where it is not the model itself."""
    call = forward or model

    def loss(batch: Batch) -> Tensor:
        x_BF, words_BL, y_B, factor = batch
        return nn.functional.cross_entropy(call(x_BF, words_BL).float(), y_B) * factor

    return Training(model, optimizer, None, loss)


def plain_steps(training: Training, data: Sequence[Any]) -> None:
    """The loop that one writes by hand."""
    optimizers = training.optimizer if isinstance(training.optimizer, list) else [training.optimizer]
    for batch in data:
        for each in optimizers:
            each.zero_grad()
        training.loss(batch).backward()  # type: ignore[no-untyped-call]
        for each in optimizers:
            each.step()
        if training.scheduler is not None:
            training.scheduler.step()
