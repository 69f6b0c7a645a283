"""Healthy trainings whose losses come by a method of their own: adversaries, policies, alignments, sampled noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.healthy_workloads import Batch, Workload, corpus, digits, mlp, shuffled
from benchmarks.pole import LONGEST, episodes

__all__ = ["METHODS"]


class _Tied(nn.Module):
    """An LSTM over characters whose output layer is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(96, 48)
        self.lstm = nn.LSTM(48, 48, batch_first=True)
        self.drop = nn.Dropout(0.1)
        nn.init.normal_(self.embedding.weight, std=0.1)

    def forward(self, x_BT: Tensor) -> Tensor:
        """Logits [B, T, 96]."""
        logits: Tensor = self.drop(self.lstm(self.drop(self.embedding(x_BT)))[0]) @ self.embedding.weight.T
        return logits


def _language_model(seed: int) -> Workload:
    torch.manual_seed(seed)
    text, model = corpus(), _Tied()
    by = AdamW(model.parameters(), lr=4e-3)
    generator = torch.Generator().manual_seed(seed)

    def batches() -> Iterator[Batch]:
        while True:
            start = torch.randint(0, len(text) - 17, (8, 1), generator=generator)
            rows = text[start + torch.arange(17)]
            yield rows[:, :-1], rows[:, 1:]

    def loss(batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten(), label_smoothing=0.1)

    def planned(step: int) -> float:
        return min(1.0, (step + 1) / 100) * (0.55 + 0.45 * math.cos(math.pi * min(1, step / 1200)))

    return Workload(model, by, LambdaLR(by, planned), loss, batches())


def _adversaries(seed: int) -> Workload:
    """A judge of images, and as its partner the generator that is to fool it."""
    torch.manual_seed(seed)
    x, y = digits()
    judge, generator = mlp(64, 64, 1), nn.Sequential(mlp(8, 64, 64), nn.Sigmoid())
    latent = torch.Generator().manual_seed(seed)
    softplus = nn.functional.softplus

    def draws() -> Iterator[Batch]:
        while True:
            yield (torch.randn(32, 8, generator=latent),)

    def judged(batch: Batch) -> Tensor:
        made = generator(torch.randn(len(batch[0]), 8)).detach()
        return (softplus(-judge(batch[0])) + softplus(judge(made))).mean()

    def fooled(batch: Batch) -> Tensor:
        return softplus(-judge(generator(batch[0]))).mean()

    by, by_generator = (Adam(half.parameters(), lr=5e-4, betas=(0.5, 0.999)) for half in (judge, generator))
    return Workload(
        judge, by, None, judged, shuffled(x, y, seed, lambda n: 32),
        partner=Workload(generator, by_generator, None, fooled, draws()),
    )  # fmt: skip


def _proximal_policy(seed: int) -> Workload:
    """PPO on the pole: 16 episodes of the present policy, then four passes over their steps in batches of 32."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    numbers = np.random.default_rng(seed)

    def chances(states: Tensor, choices: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability of each choice, and the value of each state."""
        logit, value = model(states).unbind(-1)
        return -nn.functional.binary_cross_entropy_with_logits(logit, choices, reduction="none"), value

    def batches() -> Iterator[Batch]:
        while True:
            rows = numbers.random((16, 2 + LONGEST), dtype=np.float32)
            rows[:, :2] -= 0.5
            states, choices, standing = (torch.from_numpy(array) for array in episodes(model, rows))
            returns = 0.1 * standing.float().flip(0).cumsum(0).flip(0)
            kept = states[standing].float(), choices[standing].float(), returns[standing]
            with torch.no_grad():
                before, value = chances(kept[0], kept[1])
            gain = kept[2] - value
            columns = (*kept, before, (gain - gain.mean()) / (gain.std() + 1e-8))
            for _ in range(4):
                order = torch.from_numpy(numbers.permutation(len(gain)))
                for start in range(0, len(gain), 32):
                    yield tuple(column[order[start : start + 32]] for column in columns)

    def loss(batch: Batch) -> Tensor:
        states, choices, returns, before, gain = batch
        chance, value = chances(states, choices)
        ratio = (chance - before).exp()
        clipped = torch.minimum(ratio * gain, ratio.clamp(0.8, 1.2) * gain)
        return (0.5 * (value - returns).square() - clipped + 0.01 * chance).mean()

    return Workload(model, Adam(model.parameters(), lr=3e-3), None, loss, batches())


def _alignment(seed: int) -> Workload:
    """CTC: three of five sounds, each a few noisy frames long, are to be read from 16 frames."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Conv1d(8, 32, 3, padding=1), nn.ReLU(), nn.Conv1d(32, 6, 3, padding=1))
    sounds = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))

    def batches() -> Iterator[Batch]:
        while True:
            labels = torch.randint(1, 6, (8, 3), generator=generator)
            # The frames at which the three begin; before the first, and after each, there is silence now and then.
            begins = torch.rand(8, 16, generator=generator)[:, 1:14].topk(3).indices.sort(1).values + 1
            said = (torch.arange(16)[None, :, None] >= begins[:, None]).sum(-1)
            frames = torch.cat([torch.zeros(8, 1, dtype=torch.long), labels], 1).gather(1, said)
            yield sounds[frames] + 0.5 * torch.randn(8, 16, 8, generator=generator), labels

    def loss(batch: Batch) -> Tensor:
        lengths = torch.full((8,), 16), torch.full((8,), 3)
        chance_TBC = model(batch[0].mT).permute(2, 0, 1).log_softmax(-1)
        return nn.functional.ctc_loss(chance_TBC, batch[1], *lengths, zero_infinity=True)

    return Workload(model, Adam(model.parameters(), lr=3e-3), None, loss, batches())


def _autoencoder(seed: int) -> Workload:
    """A variational autoencoder of images."""
    torch.manual_seed(seed)
    x, y = digits()
    model = nn.ModuleDict({"reads": mlp(64, 48, 16), "draws": mlp(8, 48, 64)})

    def loss(batch: Batch) -> Tensor:
        mean, log_variance = model["reads"](batch[0]).chunk(2, dim=1)
        latent = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        wrong = nn.functional.binary_cross_entropy_with_logits(model["draws"](latent), batch[0], reduction="none")
        apart = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
        bound: Tensor = wrong.sum(1) + apart.sum(1)
        return bound.mean()

    return Workload(model, Adam(model.parameters(), lr=2e-3), None, loss, shuffled(x, y, seed, lambda n: 32))


def _contrast(seed: int) -> Workload:
    """InfoNCE: two noisy views of an image are to be told from those of the others."""
    torch.manual_seed(seed)
    x, y = digits()
    model = mlp(64, 64, 16)

    def loss(batch: Batch) -> Tensor:
        views = (batch[0] + 0.3 * torch.randn_like(batch[0]) for _ in range(2))
        first, second = (nn.functional.normalize(model(view), dim=1) for view in views)
        return nn.functional.cross_entropy(first @ second.T / 0.1, torch.arange(len(first)))

    return Workload(model, Adam(model.parameters(), lr=1e-3), None, loss, shuffled(x, y, seed, lambda n: 32))


def _denoising(seed: int) -> Workload:
    """Points are to be told from noise whose strength is drawn for each row, weighted as in diffusion models."""
    torch.manual_seed(seed)
    model, generator = mlp(3, 64, 2), torch.Generator().manual_seed(seed)
    model_of: Callable[[Tensor], Tensor] = model

    def batches() -> Iterator[Batch]:
        while True:
            angle = 2 * math.pi * torch.rand(32, generator=generator)
            yield (torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(32, 2, generator=generator),)

    def loss(batch: Batch) -> Tensor:
        points, own = batch[0], 0.7
        strength = (1.2 * torch.randn(len(points), 1) - 1.2).exp()
        noisy = points + strength * torch.randn_like(points)
        both = (strength.square() + own**2).sqrt()
        out = model_of(torch.cat([noisy / both, strength.log() / 4], 1))
        guessed = own**2 / both.square() * noisy + strength * own / both * out
        return ((guessed - points).square() * (both / (strength * own)).square()).mean()

    return Workload(model, Adam(model.parameters(), lr=1e-3), None, loss, batches())


class _Adapter(nn.Module):
    """A frozen layer, and beside it a product of two narrow ones of which the second is zero at first."""

    def __init__(self, base: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output and the product's."""
        out: Tensor = self.base(x) + 2 * self.up(self.down(x))
        return out


def _adapters(seed: int) -> Workload:
    """A trained classifier learns images lying on their side, by its adapters alone."""
    torch.manual_seed(seed)
    x, y = digits()
    base = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    by = Adam(base.parameters(), lr=2e-3)
    for _, (images, labels) in zip(range(400), shuffled(x, y, seed, lambda n: 32), strict=False):
        by.zero_grad()
        nn.functional.cross_entropy(base(images), labels).backward()  # type: ignore[no-untyped-call]
        by.step()
    model = nn.Sequential(*(_Adapter(layer) if isinstance(layer, nn.Linear) else layer for layer in base))
    turned = x.view(-1, 8, 8).rot90(1, (1, 2)).flatten(1)

    def loss(batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    tuned = Adam([weight for weight in model.parameters() if weight.requires_grad], lr=2e-3)
    return Workload(model, tuned, None, loss, shuffled(turned, y, seed, lambda n: 32))


METHODS: dict[str, Callable[[int], Workload]] = {
    "language model, tied": _language_model,
    "GAN, a guard each": _adversaries,
    "PPO": _proximal_policy,
    "CTC": _alignment,
    "variational autoencoder": _autoencoder,
    "InfoNCE": _contrast,
    "denoising, as in diffusion": _denoising,
    "adapters on a frozen base": _adapters,
}
"""Name -> a training by its seed."""
