"""Trainings whose data change for good at step 500: a guard may hold a batch or two back, and must not halt.

Each is run under the guard with its default policy, and by itself; what counts is that the guard lets the run go on
and that its score on held-out data of the new kind is what it is without a guard.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn
from torch.optim import Adam

from benchmarks.healthy_workloads import Batch, Workload, digits, mlp, shuffled
from supervisor import Guard, PolicyHalt
from supervisor.events.schema import Event

__all__ = ["CHANGED_AT", "CURRICULA", "Curriculum", "CurriculumRun", "report", "run"]

CHANGED_AT = 500
SEEN = 1400
"""Images used for training; the others are held out."""


@dataclass(slots=True)
class Curriculum:
    """A training, and its score.

    Attributes:
        workload: the training; its batches change after `CHANGED_AT` of them.
        score: on held-out data of the new kind, the model being in eval mode.
    """

    workload: Workload
    score: Callable[[], Tensor]


@dataclass(frozen=True, slots=True)
class CurriculumRun:
    """What one run came to.

    Attributes:
        discarded: updates that were not applied.
        shifts: `data_shift` events.
        halted: whether the policy halted it.
        score: on held-out data of the new kind.
        signals: what the discarded updates were flagged for.
    """

    discarded: int
    shifts: int
    halted: bool
    score: float
    signals: Counter[str]


def _classifier(
    seed: int, batches: Callable[[Tensor, Tensor, int], Iterator[Batch]], change: Callable[[Tensor], Tensor]
) -> Curriculum:
    """Images, scored by the accuracy on held-out ones after `change`."""
    torch.manual_seed(seed)
    x, y = digits()
    model = mlp()

    def loss(batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    held = change(x[SEEN:])
    labels = y[SEEN:].repeat(len(held) // len(y[SEEN:]))
    workload = Workload(model, Adam(model.parameters(), lr=1e-3), None, loss, batches(x[:SEEN], y[:SEEN], seed))
    return Curriculum(workload, lambda: (model(held).argmax(1) == labels).float().mean())


def _noisy(images: Tensor, generator: torch.Generator) -> Tensor:
    return images + 0.6 * torch.randn(images.shape, generator=generator)


def _harder_noise(seed: int) -> Curriculum:
    """Clean images, then ones with much noise."""

    def batches(x: Tensor, y: Tensor, seed: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(seed)
        for number, (images, labels) in enumerate(shuffled(x, y, seed, lambda n: 32)):
            yield images if number < CHANGED_AT else _noisy(images, generator), labels

    return _classifier(seed, batches, lambda held: _noisy(held, torch.Generator().manual_seed(1)))


def _other_domain(images: Tensor) -> Tensor:
    """The same digits as negatives, with their pixels in another order."""
    return 1 - images[:, torch.randperm(64, generator=torch.Generator().manual_seed(2))]


def _second_domain(seed: int) -> Curriculum:
    """One domain, then half of each batch from another."""

    def batches(x: Tensor, y: Tensor, seed: int) -> Iterator[Batch]:
        for number, (images, labels) in enumerate(shuffled(x, y, seed, lambda n: 32)):
            mixed = images if number < CHANGED_AT else torch.cat([images[:16], _other_domain(images[16:])])
            yield mixed, labels

    return _classifier(seed, batches, lambda held: torch.cat([held, _other_domain(held)]))


def _new_classes(seed: int) -> Curriculum:
    """Five classes, then all ten."""

    def batches(x: Tensor, y: Tensor, seed: int) -> Iterator[Batch]:
        few = y < 5
        yield from islice(shuffled(x[few], y[few], seed, lambda n: 32), CHANGED_AT)
        yield from shuffled(x, y, seed, lambda n: 32)

    return _classifier(seed, batches, lambda held: held)


class _Sums(nn.Module):
    """A GRU that tells the sum of the numbers in a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(1, 24, batch_first=True)
        self.head = nn.Linear(24, 1)

    def forward(self, x_BT: Tensor) -> Tensor:
        """Sums [B]."""
        out: Tensor = self.head(self.gru(x_BT[:, :, None])[0][:, -1])[:, 0]
        return out


def _longer_sequences(seed: int) -> Curriculum:
    """Sums of 4 numbers, then of 16; scored by the share of the variance that is explained."""
    torch.manual_seed(seed)
    model, generator = _Sums(), torch.Generator().manual_seed(seed)

    def batches() -> Iterator[Batch]:
        number = 0
        while True:
            x = 2 * torch.rand(32, 4 if number < CHANGED_AT else 16, generator=generator) - 1
            yield x, x.sum(1)
            number += 1

    def loss(batch: Batch) -> Tensor:
        return nn.functional.mse_loss(model(batch[0]), batch[1])

    held = 2 * torch.rand(1000, 16, generator=torch.Generator().manual_seed(3)) - 1
    workload = Workload(model, Adam(model.parameters(), lr=3e-3), None, loss, batches())
    return Curriculum(workload, lambda: 1 - (model(held) - held.sum(1)).square().mean() / held.sum(1).var())


CURRICULA: dict[str, Callable[[int], Curriculum]] = {
    "harder noise at 500": _harder_noise,
    "longer sequences at 500": _longer_sequences,
    "a second domain at 500": _second_domain,
    "new classes at 500": _new_classes,
}
"""Name -> a curriculum by its seed."""


def run(made: Curriculum, steps: int) -> CurriculumRun:
    """Train under the guard, which draws the batches itself."""
    workload, heard, signals = made.workload, Counter[str](), Counter[str]()

    def hear(event: Event) -> None:
        heard[event.event] += 1

    guard = Guard(
        model=workload.model,
        optimizer=workload.optimizer,
        scheduler=workload.scheduler,
        loss=workload.loss,
        data=workload.batches,
        listeners=[hear],
    )
    discarded, halted = 0, False
    try:
        for batch in guard.batches(steps):
            outcome = guard.step(batch)
            if not outcome.applied:
                discarded += 1
                signals.update(signal.name for signal in outcome.signals)
    except PolicyHalt:
        halted = True
    return CurriculumRun(discarded, heard["data_shift"], halted, _score(made), signals)


def _alone(made: Curriculum, steps: int) -> float:
    workload = made.workload
    for batch in islice(workload.batches, steps):
        workload.optimizer.zero_grad()
        workload.loss(batch).backward()  # type: ignore[no-untyped-call]
        workload.optimizer.step()
    return _score(made)


def _score(made: Curriculum) -> float:
    made.workload.model.eval()
    with torch.no_grad():
        return float(made.score())


def report(names: list[str], steps: int, seeds: int) -> None:
    """Run the curricula of these names and print what became of them, each seed apart."""
    if not names:
        return
    print(f"\nThe data change at step {CHANGED_AT} of {steps}, for good")
    columns = ("halted", "discarded", "data_shift", "guarded", "unguarded")
    print(f"{'':34}", *(f"{column:>12}" for column in columns))
    for name in names:
        for seed in range(seeds):
            came = run(CURRICULA[name](seed), steps)
            cells = ("yes" if came.halted else "no", came.discarded, came.shifts, f"{came.score:.3f}")
            alone = f"{_alone(CURRICULA[name](seed), steps):.3f}"
            found = ", ".join(f"{count} {signal}" for signal, count in came.signals.most_common())
            row = [*(f"{cell!s:>12}" for cell in (*cells, alone)), *([f"  {found}"] if found else [])]
            print(f"{f'{name} [{seed}]':34}", *row, flush=True)
