"""Mend the cause and go on: a halted run whose loss was mended, resumed with `after_halt`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.training import healthy_batches
from torch import Tensor, nn

from supervisor import Guard, PolicyHalt
from supervisor.errors import InputError
from supervisor.events import read_events

POLICY: dict[str, Any] = {
    "ladder": [{"action": "lower_lr", "attempts": 2, "restore_after_steps": 200}, {"action": "halt"}],
    "checkpoint": {"every_steps": 100, "keep": 3},
    "experiments": None,
    "diagnose": {"quarantine": True},
}
BATCHES = healthy_batches(12)


class Training:
    """A model whose loss raises from one batch on, until it is mended."""

    def __init__(self, folder: Path, *, mended: bool, **arguments: Any) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 1))
        self.model(BATCHES[0][0])
        self.mended = mended
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.guard = Guard(
            model=self.model, optimizer=optimizer, loss=self.loss, data=BATCHES, policy=POLICY, run_dir=folder,
            quiet=True, **arguments,
        )  # fmt: skip

    def loss(self, batch: Any) -> Tensor:
        if not self.mended and self.guard.steps_done >= 5:
            raise TypeError("the fifth kind of batch is not handled")
        return self.model(batch[0]).square().mean()


@pytest.fixture
def halted(tmp_path: Path) -> Path:
    summary = Training(tmp_path, mended=False).guard.run(20)
    assert (summary.status, summary.lr_scale) == ("halted", 0.25)
    return tmp_path


def test_it_goes_on_with_a_fresh_ladder_at_the_whole_rate(halted: Path) -> None:
    guard = Training(halted, mended=True, resume=True, after_halt=True).guard
    assert guard.status is None
    summary = guard.run(20)
    assert (summary.status, summary.steps, summary.lr_scale, summary.incidents) == ("finished", 20, 1.0, 1)
    (resumed,) = [event for event in read_events(halted) if event.event == "run_resumed"]
    assert resumed.after_halt


def test_without_it_the_run_stays_halted_and_the_error_says_how_it_goes_on(halted: Path) -> None:
    training = Training(halted, mended=True, resume=True)
    assert training.guard.run(20).status == "halted"
    with pytest.raises(PolicyHalt, match="mend the cause and resume with after_halt=True, or under another policy"):
        training.guard.step(BATCHES[0])


def test_the_same_mistake_again_climbs_the_whole_ladder_again(halted: Path) -> None:
    summary = Training(halted, mended=False, resume=True, after_halt=True).guard.run(20)
    assert (summary.status, summary.lr_scale, summary.incidents) == ("halted", 0.25, 2)
    assert Training(halted, mended=True, resume=True, after_halt=True).guard.run(20).status == "finished"


def test_it_is_for_resumes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="after_halt: goes with `resume=True`"):
        Training(tmp_path, mended=True, after_halt=True)
