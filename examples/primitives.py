"""A training loop that keeps everything in its own hands and only asks the guard: may this update be applied?

    python examples/primitives.py [--steps N] [--run-dir DIR]

The loop draws its batches, runs its model, clips and steps by itself. One batch holds a NaN, one makes the model raise:
both are discarded. With an earlier run directory it goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from supervisor import Guard, InputError

FEATURES = 16
Batch = tuple[Tensor, Tensor]


class Source:
    """Draws batch after batch, the same for the same number, and tells where it stands."""

    def __init__(self) -> None:
        self.number = 0

    def draw(self) -> Batch:
        """The next batch; two of them are bad."""
        generator = torch.Generator().manual_seed(self.number)
        x_BF = torch.randn(32, FEATURES, generator=generator)
        y_B1 = torch.tanh(x_BF.sum(1, keepdim=True))
        if self.number == 20:
            x_BF[3, 5] = torch.nan
        if self.number == 45:
            x_BF = x_BF[:, 1:]
        self.number += 1
        return x_BF, y_B1

    def state_dict(self) -> dict[str, int]:
        """Where it stands."""
        return {"number": self.number}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go there."""
        self.number = state["number"]


def main(steps: int, run_dir: str) -> None:
    """Train, and say what was discarded."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(FEATURES, 64), nn.GELU(), nn.Linear(64, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    source = Source()

    def loss_of(batch: Batch) -> Tensor:
        return nn.functional.mse_loss(model(batch[0]), batch[1])

    guard = Guard(
        model=model,
        optimizer=optimizer,
        replay=loss_of,  # only to find out why an update went wrong; without it the cause is not known
        position=source,  # goes into the checkpoints, so that a resume draws the right batch
        run_dir=run_dir,
        resume=(Path(run_dir) / "checkpoints").is_dir(),
    )
    guard.begin(steps)
    while guard.steps_done < steps and guard.status is None:  # a halt ends it too
        batch, loss, error = source.draw(), None, None
        guard.before_batch(batch)
        try:
            loss = loss_of(batch)
            loss.backward()
        except Exception as raised:  # noqa: BLE001  (the guard decides what becomes of it)
            error = raised
        verdict = guard.after_backward(loss, error)
        if verdict.apply:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            with guard.applying():
                optimizer.step()
            verdict = guard.after_step()
        if verdict.outcome is not None and not verdict.outcome.applied:
            print(f"step {verdict.outcome.step}: loss {verdict.outcome.loss}: {verdict.outcome.action}")
    summary = guard.finish()
    print(f"{summary.status}: {summary.applied_steps} of {summary.steps} steps applied, loss {summary.final_loss:.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--run-dir", default=None, help="default: a new temporary directory")
    arguments = parser.parse_args()
    try:
        main(arguments.steps, arguments.run_dir or tempfile.mkdtemp(prefix="primitives-"))
    except InputError as error:
        parser.error(str(error))
