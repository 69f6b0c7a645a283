"""A plain classifier in a loop of one's own: two rows of its data are broken.

    python examples/classifier.py [--steps N] [--run-dir DIR]

The same loop without the guard runs after it: one NaN reaches its weights, and they are lost.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from supervisor import Guard, InputError

FEATURES, CLASSES, ROWS, BATCH = 20, 4, 3328, 32


def make_rows() -> tuple[Tensor, Tensor]:
    """Features and classes of a problem that a small network can learn."""
    generator = torch.Generator().manual_seed(0)
    centres_CF = 2 * torch.randn(CLASSES, FEATURES, generator=generator)
    y_N = torch.randint(CLASSES, (ROWS,), generator=generator)
    return centres_CF[y_N] + 4 * torch.randn(ROWS, FEATURES, generator=generator), y_N


def make_training() -> tuple[nn.Module, torch.optim.Optimizer]:
    """The network and its optimizer, the same each time."""
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Linear(FEATURES, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, CLASSES)
    )
    return model, torch.optim.AdamW(model.parameters(), lr=3e-3)


def accuracy(model: nn.Module, x_NF: Tensor, y_N: Tensor) -> float:
    """Share of rows that the model puts into their class."""
    model.eval()
    with torch.no_grad():
        return float((model(x_NF).argmax(1) == y_N).float().mean())


def main(steps: int, run_dir: str) -> None:
    """Train with the guard and without, and compare."""
    x_NF, y_N = make_rows()
    held_out = x_NF[:256].clone(), y_N[:256]
    x_NF, y_N = x_NF[256:], y_N[256:]
    x_NF[400, 3] = float("nan")  # a sensor that gave nothing
    x_NF[2300, 7] = float("inf")  # a division by zero upstream
    loader = DataLoader(TensorDataset(x_NF, y_N), batch_size=BATCH)

    model, optimizer = make_training()

    def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    guard = Guard(model=model, optimizer=optimizer, loss=loss, data=loader, run_dir=run_dir)
    found: Counter[str] = Counter()
    for batch in guard.batches(steps):
        outcome = guard.step(batch)
        if not outcome.applied:
            found[str(outcome.signals[0].name)] += 1
            print(f"step {outcome.step}: {outcome.signals[0].name} -> {outcome.action}")
    summary = guard.summary()
    guarded = accuracy(model, *held_out)

    model, optimizer = make_training()
    for _, batch in zip(range(steps), loader, strict=False):
        optimizer.zero_grad()
        loss(batch).backward()
        optimizer.step()

    print(f"{summary.status}: {summary.applied_steps} of {summary.steps} steps applied, {dict(found)} recovered")
    print(f"held-out accuracy: {guarded:.3f} with the guard, {accuracy(model, *held_out):.3f} without")
    print(f"the record: supervisor events {run_dir}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--run-dir", default=None, help="default: a new temporary directory")
    arguments = parser.parse_args()
    try:
        main(arguments.steps, arguments.run_dir or tempfile.mkdtemp(prefix="classifier-"))
    except InputError as error:
        parser.error(str(error))
