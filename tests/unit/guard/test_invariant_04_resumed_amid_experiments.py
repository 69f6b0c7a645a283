"""Invariant 4, with experiments: a run that ends amid odd updates and is resumed goes on as the unbroken one does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_same, everything, seed_all
from support.training import EventList, Training, guard_of, nan_batch
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor]
Change = Callable[[Batch, Tensor], Batch]

STEPS, AT = 220, 150
"""The updates of a run, and the one at which the data change."""


def classifier() -> Training:
    """A linear one, with dropout."""
    seed_all(0)
    model = nn.Sequential(nn.Dropout(0.1), nn.Linear(6, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)

    def loss(batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    return Training(model, optimizer, None, loss)


def batches(change: Change, first: int, count: int) -> list[Batch]:
    """Those of a problem that can be learnt, some of them changed."""
    draw = torch.Generator().manual_seed(3)
    weights_FC = torch.randn(6, 3, generator=draw)
    made = []
    for number in range(STEPS):
        x_BF = torch.randn(32, 6, generator=draw)
        scores_BC = x_BF @ weights_FC + 0.3 * torch.randn(32, 3, generator=draw)
        chance_B = torch.randint(0, 3, (32,), generator=draw)
        batch = x_BF, scores_BC.argmax(1)
        made.append(change(batch, chance_B) if first <= number < first + count else batch)
    return made


def harder(batch: Batch, chance_B: Tensor) -> Batch:
    return batch[0], torch.where(torch.arange(32) < 24, chance_B, batch[1])


def wrong_labels(batch: Batch, chance_B: Tensor) -> Batch:
    return batch[0], (batch[1] + 1) % 3


def large(batch: Batch, chance_B: Tensor) -> Batch:
    return 1e4 * batch[0], batch[1]


def not_finite(batch: Batch, chance_B: Tensor) -> Batch:
    return nan_batch(batch)


# The diagnosis tries a batch of the process's own memory too.
OF_THE_PROCESS = {"explanation", "replays", "earlier_batch_healthy"}
SPENT = {"time", "monotonic", "boot", "seconds", "step_seconds", "applied_seconds", "states_seconds"}
UNLIKE = OF_THE_PROCESS | SPENT | {"run_id", "pid", "path"}
# Of the checkpoint at which the run ended and was resumed, and of its lives.
LIFE = {"run_started", "run_resumed", "run_finished", "checkpoint_saved", "checkpoint_promoted", "checkpoint_rejected"}


def told(heard: EventList, since: int) -> list[dict[str, Any]]:
    """What was found and done from an update on, without when."""
    found = []
    for event in heard:
        if event.event not in LIFE and event.update is not None and event.update >= since:
            found.append({k: v for k, v in event.model_dump(mode="json").items() if k not in UNLIKE})
    return found


def run(folder: Path, data: list[Batch], steps: int, *, resume: bool = False) -> tuple[Training, EventList, Any]:
    training, heard = classifier(), EventList()
    policy = {"experiments": {"bad_data": {"in_a_row": 100, "share": 0.9}}}
    guard = guard_of(training, data, run_dir=folder, resume=resume, policy=policy, listeners=[heard], quiet=True)
    summary = guard.run(steps)
    guard.close()
    return training, heard, summary


@pytest.mark.parametrize(
    ("change", "count", "kinds", "stops"),
    [
        pytest.param(harder, 70, {"data_shift", "experiment"}, (151, 156, 161, 180), id="a changed world"),
        pytest.param(
            wrong_labels,
            40,
            {"decision", "experiment"},
            (151, 155, 158, 165, 189, 195),
            id="wrong labels",
            marks=pytest.mark.slow,
        ),
        pytest.param(large, 30, {"decision", "experiment"}, (151, 162, 181), id="extreme", marks=pytest.mark.slow),
        pytest.param(not_finite, 30, {"decision", "experiment"}, (151, 162, 181), id="not finite"),
    ],
)
def test_it_goes_on_as_the_unbroken_one(
    tmp_path: Path, change: Change, count: int, kinds: set[str], stops: tuple[int, ...]
) -> None:
    data = batches(change, AT, count)
    whole, heard, summary = run(tmp_path / "whole", data, STEPS)
    assert summary.status == "finished"
    assert kinds <= {event["event"] for event in told(heard, AT)}
    for stop in stops:
        folder = tmp_path / f"run-{stop}"
        run(folder, data, stop)
        resumed, since, _ = run(folder, data, STEPS, resume=True)
        assert_same(everything(resumed), everything(whole))
        assert told(since, stop) == told(heard, stop)
