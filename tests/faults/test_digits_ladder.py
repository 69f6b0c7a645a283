"""Acceptance: a GRU classifier climbs the built-in ladder rung by rung, and each rung in turn cures it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command import read_lines
from support.digits import accuracy, digits_training, train_rows
from support.exact import assert_finite
from support.training import EventList, Training
from torch import Tensor

from supervisor import Guard, RecoveryPolicy, load_policy
from supervisor.events.schema import RunSummary
from supervisor.records import ActionName

FIRST_BAD = 120
BATCH = 32
LADDER = ["skip_batch"] * 3 + ["lower_lr"] * 2 + ["reload_checkpoint"] * 2 + ["reinitialize"] + ["halt"]
COOLDOWN, RESTORE_AFTER = RecoveryPolicy().cooldown_steps, 200
COUNTING = load_policy(
    {
        "experiments": None,
        "ladder": [
            rung.model_dump(mode="json")
            for rung in RecoveryPolicy().ladder
            if rung.action not in (ActionName.TRY_CURES, ActionName.HALT)
        ],
    }
)
"""The default ladder, climbed by counting alone, without cures of the set-up."""


class SpoiltStream:
    """Batches of digits for ever; from `FIRST_BAD` on, `count` of them are NaN. Counts over all epochs."""

    def __init__(self, count: float) -> None:
        self._images, self._labels = train_rows()
        self._count = count
        self.drawn = 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self._labels) - BATCH + 1, BATCH):
            images = self._images[start : start + BATCH]
            bad = FIRST_BAD <= self.drawn < FIRST_BAD + self._count
            self.drawn += 1
            yield (images * math.nan if bad else images), self._labels[start : start + BATCH]


def run(
    bad: float, *, steps: int, run_dir: Path | None = None
) -> tuple[Training, EventList, RunSummary, list[tuple[int, float]]]:
    """A run whose ladder climbs by counting alone; the last is the LR scale after each update."""
    training, heard = digits_training(), EventList()
    scales: list[tuple[int, float]] = []
    guard = Guard(
        model=training.model,
        optimizer=training.optimizer,
        loss=training.loss,
        data=SpoiltStream(bad),
        policy=COUNTING,
        run_dir=run_dir,
        listeners=[heard],
        on_progress=lambda progress: scales.append((progress.step, progress.lr_scale)),
    )
    summary = guard.run(steps)
    guard.close()
    return training, heard, summary, scales


def test_data_that_are_bad_for_good_climb_the_whole_ladder_and_halt(tmp_path: Path) -> None:
    training, heard, summary, _ = run(math.inf, steps=1000, run_dir=tmp_path / "run")
    assert summary.status == "halted"
    assert heard.actions() == LADDER
    lines = read_lines(tmp_path / "run")
    assert [line["action"] for line in lines if line["event"] == "decision"] == LADDER
    assert [line["rung"] for line in lines if line["event"] == "decision"] == [0, 0, 0, 1, 1, 2, 2, 3, 4]
    assert lines[-1]["event"] == "run_halted"
    assert len(heard.named("incident_opened")) == 1
    assert_finite(training)
    # Left in the newest good state, which can tell digits apart.
    assert accuracy(training.model) > 0.5


@pytest.mark.parametrize("bad", [1, 3, 4, 5, 6, 7, 8])
def test_each_rung_in_turn_is_the_cure(bad: int) -> None:
    cure = LADDER[bad - 1]
    training, heard, summary, scales = run(bad, steps=400)
    assert summary.status == "finished"
    assert summary.steps == 400
    assert heard.actions() == LADDER[:bad]
    closed = heard.named("incident_closed")
    assert [str(event.cured_by) for event in closed] == [cure]
    assert summary.cured_by == {cure: 1}
    last_bad = heard.named("decision")[-1].update
    assert closed[0].update == last_bad + COOLDOWN
    cuts = LADDER[:bad].count("lower_lr")
    assert summary.lr_scale == 1.0
    restored = [event.update for event in heard.named("lr_restored")]
    if cure == "lower_lr":
        # Each cut runs out so many healthy steps after it was made; the bad batches are none.
        assert set(restored) == {last_bad + RESTORE_AFTER}
        assert min(scale for _, scale in scales) == 0.5**cuts
    elif cuts:
        # A higher rung was the cure, so the cuts go when the incident closes.
        assert restored == [closed[0].update]
    else:
        assert restored == []
    assert_finite(training)
    assert accuracy(training.model) > 0.7


def test_the_next_incident_begins_at_the_lowest_rung_again() -> None:
    training, heard = digits_training(), EventList()
    images, labels = train_rows()
    batches = [(images[i * BATCH : (i + 1) * BATCH], labels[i * BATCH : (i + 1) * BATCH]) for i in range(40)]
    guard = Guard(
        model=training.model,
        optimizer=training.optimizer,
        loss=training.loss,
        policy=COUNTING,
        listeners=[heard],
    )
    bad = {10, 11, 12, 13, 13 + COOLDOWN, 14 + COOLDOWN + COOLDOWN}
    for number in range(80):
        batch = batches[number % len(batches)]
        guard.step((batch[0] * math.nan, batch[1]) if number in bad else batch)
    # One healthy step short of the cool-down it is the same incident; with all of them it is another.
    assert heard.actions() == ["skip_batch"] * 3 + ["lower_lr"] * 2 + ["skip_batch"]
    assert [event.incident for event in heard.named("decision")] == [1] * 5 + [2]


@pytest.mark.slow
def test_a_row_that_is_nan_in_every_epoch_costs_little_and_one_step_where_it_is_quarantined() -> None:
    epochs, size = 6, 16
    images, labels = train_rows()
    found = {}
    for spoilt, quarantine in ((False, True), (True, False), (True, True)):
        rows = images.clone()
        if spoilt:
            rows[777] = math.nan
        training, heard = digits_training(), EventList()
        order = torch.Generator().manual_seed(1)
        loader: Any = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(rows, labels), batch_size=size, shuffle=True, generator=order
        )
        guard = Guard(
            model=training.model,
            optimizer=training.optimizer,
            loss=training.loss,
            data=loader,
            policy={"diagnose": {"quarantine": quarantine}},
            listeners=[heard],
        )
        summary = guard.run(epochs * len(loader))
        found[spoilt, quarantine] = accuracy(training.model)
        strikes = (1 if quarantine else epochs) * spoilt
        assert summary.status == "finished"
        assert heard.actions() == ["skip_batch"] * strikes
        assert summary.skipped_steps == strikes
        assert summary.lr_scale == 1.0
    healthy, skipped, left_out = found.values()
    assert healthy > 0.8
    assert min(skipped, left_out) > healthy - 0.03
