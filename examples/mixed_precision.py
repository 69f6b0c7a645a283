"""Mixed precision with a gradient scaler: some batches overflow what half precision can hold.

    python examples/mixed_precision.py [--steps N] [--run-dir DIR]

The scale starts far too high, and comes down by itself: that is how it calibrates, and no incident. Two batches with
a reading in the wrong unit overflow in the forward pass, whatever the scale: those are, and are skipped.
"""

from __future__ import annotations

import argparse
import tempfile

import torch
from torch import Tensor, nn

from supervisor import Guard, InputError

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
FEATURES, BATCH, BATCHES = 16, 32, 64


def make_batches() -> list[tuple[Tensor, Tensor]]:
    """A regression problem; readings of two batches are in pascal where the others are in megapascal."""
    generator = torch.Generator().manual_seed(0)
    truth_F1 = torch.randn(FEATURES, 1, generator=generator)
    batches = []
    for number in range(BATCHES):
        x_BF = torch.randn(BATCH, FEATURES, generator=generator)
        y_B1 = torch.tanh(x_BF @ truth_F1)
        if number in (20, 45):
            x_BF[3, 5] *= 1e6
        batches.append((x_BF.to(DEVICE), y_B1.to(DEVICE)))
    return batches


def main(steps: int, run_dir: str) -> None:
    """Train, and say what overflowed and what became of it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(FEATURES, 64), nn.GELU(), nn.Linear(64, 1)).to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    scaler = torch.amp.GradScaler(DEVICE, init_scale=2.0**24, growth_interval=500)

    def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        x_BF, y_B1 = batch
        with torch.autocast(DEVICE, dtype=torch.float16):
            predicted_B1 = model(x_BF)
        return nn.functional.mse_loss(predicted_B1.float(), y_B1)

    guard = Guard(model=model, optimizer=optimizer, loss=loss, data=make_batches(), scaler=scaler, run_dir=run_dir)
    calibrating = skipped = 0
    # The guard scales, unscales, steps and updates the scaler: the loop only hands the batches over.
    for batch in guard.batches(steps):
        outcome = guard.step(batch)
        if not outcome.applied and outcome.action is None:
            calibrating += 1
            print(f"step {outcome.step}: gradients overflowed, the scale is now {scaler.get_scale():.0f}")
        elif not outcome.applied:
            skipped += 1
            print(f"step {outcome.step}: loss {outcome.loss}: {outcome.action}")
    summary = guard.summary()
    print(f"{summary.status}: {summary.applied_steps} of {summary.steps} steps applied, loss {summary.final_loss:.4f}")
    print(f"{calibrating} overflows while the scale calibrated, {skipped} bad batches skipped")
    print(f"the record: supervisor events {run_dir}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--run-dir", default=None, help="default: a new temporary directory")
    arguments = parser.parse_args()
    try:
        main(arguments.steps, arguments.run_dir or tempfile.mkdtemp(prefix="mixed-"))
    except InputError as error:
        parser.error(str(error))
