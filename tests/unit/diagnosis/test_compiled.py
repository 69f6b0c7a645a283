"""A compiled model: what is inside it has the names that it has without `torch.compile`."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from support.training import EventList, quiet
from torch import nn

from supervisor import Guard
from supervisor.diagnosis import load_bundle_file
from supervisor.events.schema import DiagnosisEvent
from supervisor.records import CauseKind

AT = 4


def diagnosed(run_dir: Path, spoil: Callable[[nn.Sequential, torch.Tensor], Any]) -> DiagnosisEvent:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    model = torch.compile(plain, backend="eager")
    heard = EventList()
    guard = Guard(
        model=model,
        optimizer=torch.optim.SGD(plain.parameters(), lr=0.01),
        loss=lambda batch: model(batch).square().mean(),
        data=[torch.randn(8, 4) for _ in range(8)],
        policy=quiet(),
        run_dir=run_dir,
        listeners=[heard],
    )
    for number, batch in enumerate(guard.batches(8)):
        if number == AT:
            with torch.no_grad():
                spoil(plain, batch)
        guard.step(batch)
    (found,) = [event for event in heard if isinstance(event, DiagnosisEvent)]
    return found


def test_a_poisoned_weight_is_named_with_its_module(tmp_path: Path) -> None:
    found = diagnosed(tmp_path / "run", lambda model, batch: model[2].weight.view(-1)[0].fill_(math.nan))
    assert (found.kind, found.parameter, found.module) == (CauseKind.POISONED_PARAMETER, "2.weight", "2")
    state = load_bundle_file(tmp_path / "run" / "incidents" / "0001" / "state.pt")
    assert set(state["training_modes"]) == {"", "0", "1", "2"}


def test_a_bad_sample_is_named(tmp_path: Path) -> None:
    found = diagnosed(tmp_path / "run", lambda model, batch: batch[2].fill_(math.nan))
    assert (found.kind, found.samples) == (CauseKind.BAD_INPUT, (2,))
