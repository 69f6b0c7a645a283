"""A GRU learns Python's licence by letters: a bit of its weights flips half-way, and later the run is interrupted.

    python examples/gru_language_model.py [--steps N] [--run-dir DIR]

It shows `guard.run` with a schedule, two parameter groups, an average of the weights as registered state, and a resume.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from supervisor import Guard, InputError

# The licence that comes with Python; where a distribution left it out, a file of the standard library.
LIBRARY = Path(os.__file__).parent
FILES = [LIBRARY / "LICENSE.txt", LIBRARY.parent / "LICENSE.txt", LIBRARY / "argparse.py"]
TEXT = next(file for file in FILES if file.is_file()).read_text(encoding="utf-8")[:12_000]
ALPHABET = sorted(set(TEXT))
WINDOWS_WT = torch.tensor([ALPHABET.index(letter) for letter in TEXT]).unfold(0, 33, 16)


class LanguageModel(nn.Module):
    """Letters `(B, T)` in, scores of the next letter `(B, T, letters)` out."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(ALPHABET), 32)
        self.gru = nn.GRU(32, 64, batch_first=True)
        self.scores = nn.Linear(64, len(ALPHABET))

    def forward(self, letters_BT: Tensor) -> Tensor:
        """The scores."""
        return self.scores(self.gru(self.embedding(letters_BT))[0])


def next_letter_loss(model: nn.Module, batch_BT: Tensor) -> Tensor:
    """Cross-entropy of each letter, given those before it."""
    return nn.functional.cross_entropy(model(batch_BT[:, :-1]).flatten(0, 1), batch_BT[:, 1:].flatten())


def tell(event: Any) -> None:
    """Print what was decided, and why."""
    if event.event == "decision":
        print(f"step {event.step}: {event.action}: {event.reason}")


def train(run_dir: str, steps: int, *, resume: bool) -> None:
    """Build everything from nothing, as a new process does, and train."""
    torch.manual_seed(0)
    model = LanguageModel()
    weights = {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": 0.01}
    biases = {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0}
    optimizer = torch.optim.AdamW([weights, biases], lr=5e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.95))
    data = DataLoader(WINDOWS_WT, batch_size=16, shuffle=True, generator=torch.Generator().manual_seed(1))
    policy = {"snapshot": {"every_steps": 5}, "probation_steps": 5}

    def loss(batch_BT: Tensor) -> Tensor:
        if guard.batches_drawn == steps // 2:
            # The highest bit of an exponent, as worn memory does it: a number between 1 and 2 becomes NaN or infinite.
            row_E = model.embedding.weight.data[ALPHABET.index(" ")]
            row_E.view(torch.int32)[int(((row_E.abs() - 1.5).abs() < 0.5).nonzero()[0])] ^= 1 << 30
        if guard.batches_drawn == 3 * steps // 4 and not resume:
            guard.request_stop()  # as a signal handler would
        average.update_parameters(model)  # registered below, so that it is put back when the batch is discarded
        return next_letter_loss(model, batch_BT)

    subject = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "extra_state": {"average": average}}
    kept = {"run_dir": run_dir, "resume": resume, "policy": policy, "listeners": [tell]}
    guard = Guard(loss=loss, data=data, **subject, **kept)
    print(f"{'resumed' if resume else 'started'} at step {guard.steps_done}")
    summary = guard.run(steps)
    averaged = float(next_letter_loss(average, WINDOWS_WT).detach())
    print(f"{guard.status} at step {summary.steps}, {summary.incidents} incident: averaged loss {averaged:.3f}")
    guard.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--run-dir", default=None, help="default: a new temporary directory")
    arguments = parser.parse_args()
    directory = arguments.run_dir or tempfile.mkdtemp(prefix="gru-")
    try:
        train(directory, arguments.steps, resume=False)
        train(directory, arguments.steps, resume=True)
    except InputError as error:
        parser.error(str(error))
    print(f"the record: supervisor events {directory}")
