"""Rows that the data set raises for are left out like any bad sample, and the training is as if they had never been."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.exact import assert_same
from support.training import EventList, build, guard_of, quiet
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, default_collate
from torchdata.stateful_dataloader import StatefulDataLoader

from supervisor import Guard, PolicyHalt
from supervisor.events.quarantine_file import read_quarantine
from supervisor.guard.unread import answer_unread
from supervisor.training.bad_rows import BadSamples, ReadAgain
from supervisor.training.loader_errors import DataFault, LoaderError

ROWS, SIZE = 48, 8


class Rows(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, *raising: int, times: int | None = None, kind: type[Exception] = ValueError) -> None:
        self.raising, self.left, self.kind = set(raising), times, kind

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if index in self.raising and self.left != 0:
            self.left = None if self.left is None else self.left - 1
            raise self.kind("no such row")
        return torch.randn(6, generator=torch.Generator().manual_seed(index)), torch.tensor(index % 3)


RAISED_AT = f"{__file__}:{Rows.__getitem__.__code__.co_firstlineno + 3}"


def loader_of(rows: Rows, size: int = SIZE, kind: Any = DataLoader, **options: Any) -> Any:
    """One that draws nothing from the global generators."""
    return kind(rows, size, generator=torch.Generator().manual_seed(1), **options)


LOADERS: dict[str, Any] = {
    "no processes": loader_of,
    "processes": lambda rows: loader_of(rows, num_workers=2),
    "stateful": lambda rows: loader_of(rows, kind=StatefulDataLoader),
    "stateful processes": lambda rows: loader_of(rows, kind=StatefulDataLoader, num_workers=2),
}
SLOW_ONES = [pytest.param(name, marks=pytest.mark.slow) for name in ("processes", "stateful processes")]
NAMED = ["no processes", "stateful", *SLOW_ONES]

EXPERIMENTS = {"experiments": {}, "counting": None}


def without(*left_out: int, epochs: int = 3) -> list[Any]:
    """The batches of so many epochs, as they are without these rows."""
    rows = Rows()
    each = []
    for first in range(0, ROWS, SIZE):
        kept = [rows[index] for index in range(first, first + SIZE) if index not in left_out]
        each += [default_collate(kept)] if kept else []
    return each * epochs


def trained_on(batches: list[Any]) -> dict[str, Tensor]:
    training = build()
    guard_of(training, batches).run(len(batches))
    return training.model.state_dict()


@pytest.mark.parametrize("counting", EXPERIMENTS)
@pytest.mark.parametrize("loader", NAMED)
def test_a_row_that_raises_is_named_and_left_out_and_the_rest_of_its_batch_comes_again(
    loader: str, counting: str, tmp_path: Path
) -> None:
    training, heard = build(), EventList()
    policy = {"experiments": EXPERIMENTS[counting], "cooldown_steps": 3}
    data = LOADERS[loader](Rows(13))
    guard = guard_of(training, data, policy=policy, run_dir=tmp_path / "run", listeners=[heard], quiet=True)
    # One step is used up for it, in the first epoch alone.
    summary = guard.run(3 * ROWS // SIZE + 1)
    guard.close()
    assert (summary.status, summary.quarantined, summary.incidents) == ("finished", (13,), 1)
    assert_same(training.model.state_dict(), trained_on(without(13)))
    (signal,) = heard.named("signal")
    assert (signal.exception, signal.where) == ("ValueError: no such row", RAISED_AT)
    assert [event.action for event in heard.named("decision")] == ["skip_batch"]
    assert heard.named("incident_closed")[0].cured_by == "skip_batch"
    (diagnosis,) = heard.named("diagnosis")
    assert diagnosis.kind == "bad_input"
    assert diagnosis.dataset_indices == (13,)
    assert f"the data set raised ValueError: no such row at {RAISED_AT}, for row 13" in diagnosis.explanation
    (sample,) = read_quarantine(tmp_path / "run" / "quarantine.jsonl")
    assert (sample.index, sample.step, sample.batch_number) == (13, 1, 1)


class Keyed(Rows):
    """Rows that are asked for by keys of any kind."""

    def __getitem__(self, index: Any) -> tuple[Tensor, Tensor]:
        return super().__getitem__(
            int(index["row"] if isinstance(index, dict) else torch.as_tensor(index).flatten()[0])
        )


NAMED_KEYS: dict[str, Any] = {
    "NumPy's numbers": np.arange(ROWS),
    "an array a batch": list(np.arange(ROWS).reshape(-1, SIZE)),
    "tensors": torch.arange(ROWS),
    "a tensor a batch": torch.arange(ROWS).split(SIZE),
}
OTHER_KEYS: dict[str, Any] = {
    "tuples": [(row, 224) for row in range(ROWS)],
    "lists": [[row, 224] for row in range(ROWS)],
    "dictionaries": [{"row": row} for row in range(ROWS)],
}


def keyed(rows: Rows, kind: str) -> Any:
    if kind.endswith("a batch"):
        return DataLoader(rows, batch_sampler=NAMED_KEYS[kind], generator=torch.Generator().manual_seed(1))
    return loader_of(rows, sampler=(NAMED_KEYS | OTHER_KEYS)[kind])


@pytest.mark.parametrize("kind", NAMED_KEYS)
def test_a_row_is_named_whatever_kind_of_number_the_sampler_gives_for_it(kind: str, tmp_path: Path) -> None:
    training = build()
    guard = guard_of(training, keyed(Keyed(13), kind), run_dir=tmp_path / "run", quiet=True)
    summary = guard.run(3 * ROWS // SIZE + 1)
    guard.close()
    assert (summary.status, summary.quarantined, summary.incidents) == ("finished", (13,), 1)
    assert_same(training.model.state_dict(), trained_on(without(13)))
    assert [sample.index for sample in read_quarantine(tmp_path / "run/quarantine.jsonl")] == [13]
    (incident,) = (tmp_path / "run").glob("incidents/*/incident.json")
    assert json.loads(incident.read_text())["cause"]["dataset_indices"] == [13]


@pytest.mark.parametrize("kind", OTHER_KEYS)
def test_a_row_that_has_no_name_is_left_out_each_time(kind: str, tmp_path: Path) -> None:
    training, heard = build(), EventList()
    guard = guard_of(training, keyed(Keyed(13), kind), run_dir=tmp_path / "run", listeners=[heard], quiet=True)
    # A step is used up for it in each of two epochs.
    summary = guard.run(2 * ROWS // SIZE + 2)
    guard.close()
    assert (summary.status, summary.quarantined) == ("finished", ())
    assert_same(training.model.state_dict(), trained_on(without(13, epochs=2)))
    assert heard.named("diagnosis")[0].explanation.endswith("for sample 5 of the batch")


@pytest.mark.parametrize("loader", NAMED)
def test_one_that_raises_stop_iteration_does_not_end_the_epoch(loader: str, tmp_path: Path) -> None:
    """`next` without a default: the rows behind it would be lost without a word, in every epoch."""
    training, heard = build(), EventList()
    data = LOADERS[loader](Rows(13, kind=StopIteration))
    guard = guard_of(training, data, run_dir=tmp_path / "run", listeners=[heard], quiet=True)
    summary = guard.run(4)
    assert summary.quarantined == (13,)
    (signal,) = heard.named("signal")
    assert (signal.exception, signal.where) == ("StopIteration: no such row", RAISED_AT)
    guard.close()
    again = build(seed=5)
    data = LOADERS[loader](Rows(13, kind=StopIteration))
    resumed = guard_of(again, data, run_dir=tmp_path / "run", resume=True, quiet=True)
    assert resumed.run(3 * ROWS // SIZE + 1).quarantined == (13,)
    assert_same(again.model.state_dict(), trained_on(without(13)))


def test_where_every_row_does_so_it_is_the_programs_fault() -> None:
    guard = guard_of(build(), loader_of(Rows(*range(ROWS), kind=StopIteration)), quiet=True)
    with pytest.raises(RuntimeError, match="StopIteration"):
        guard.run(30)
    assert guard.program_at_fault is not None
    assert guard.program_at_fault.startswith(f"{RAISED_AT}: StopIteration: no such row: ")


@pytest.mark.parametrize("loader", NAMED)
def test_a_run_that_is_resumed_after_it_goes_on_as_if_it_had_not_ended(loader: str, tmp_path: Path) -> None:
    """Also in the middle of the epoch in which it was found, which is read once more up to there."""
    training = build()
    guard = guard_of(training, LOADERS[loader](Rows(13)), policy=quiet(), run_dir=tmp_path / "run", quiet=True)
    guard.run(4)
    guard.close()
    again = build(seed=5)
    heard = EventList()
    data = LOADERS[loader](Rows(13))
    resumed = guard_of(again, data, policy=quiet(), run_dir=tmp_path / "run", resume=True, listeners=[heard])
    summary = resumed.run(3 * ROWS // SIZE + 1)
    resumed.close()
    assert (summary.status, summary.quarantined) == ("finished", (13,))
    assert heard.named("decision") == []
    assert_same(again.model.state_dict(), trained_on(without(13)))


def test_several_rows_and_a_whole_batch_of_them() -> None:
    training = build()
    bad = (13, 14, *range(24, 32))
    guard = guard_of(training, loader_of(Rows(*bad)), quiet=True)
    # Of the batch in which every row raises, each is as likely to be sound.
    summary = guard.run(5 + 2)
    assert (summary.quarantined, summary.skipped_steps) == ((13, 14), 2)
    assert_same(training.model.state_dict(), trained_on(without(*bad, epochs=1)))


def test_batches_of_one_update_that_came_before_it_come_again_in_order() -> None:
    training = build()
    summary = guard_of(training, loader_of(Rows(13)), accumulate=2, quiet=True).run(4)
    assert summary.quarantined == (13,)
    other = build()
    guard_of(other, without(13, epochs=1), accumulate=2).run(3)
    assert_same(training.model.state_dict(), other.model.state_dict())


def test_what_cannot_be_raised_again_is_no_rows_fault() -> None:
    training, heard = build(), EventList()
    guard = guard_of(training, loader_of(Rows(13, times=1)), listeners=[heard], quiet=True)
    summary = guard.run(ROWS // SIZE + 1)
    assert (summary.quarantined, summary.skipped_steps) == ((), 1)
    assert "gives every row of the batch when it is asked again" in heard.named("diagnosis")[0].explanation
    assert_same(training.model.state_dict(), trained_on(without(epochs=1)))


def test_a_data_set_that_always_raises_is_the_programs_fault() -> None:
    guard = guard_of(build(), loader_of(Rows(*range(ROWS))), quiet=True)
    with pytest.raises(ValueError, match="no such row"):
        guard.run(20)
    assert guard.program_at_fault is not None
    assert guard.program_at_fault.startswith(f"{RAISED_AT}: ValueError: no such row: each of the first 3 batches")


def test_one_that_raises_from_some_row_on_halts_from_the_exception() -> None:
    """A disk that is gone: no row is left out for it where all of a batch raise."""
    data = loader_of(Rows(*range(ROWS // 2, ROWS)), 4)
    policy = {"experiments": {"bad_data": {"in_a_row": 4}, "shift": {"after_updates": 3}}}
    guard = guard_of(build(), data, policy=policy, quiet=True)

    def loop() -> None:
        for batch in guard.batches(1000):
            guard.step(batch)

    with pytest.raises(PolicyHalt) as caught:
        loop()
    assert isinstance(caught.value.__cause__, ValueError)
    summary = guard.summary()
    assert (summary.status, summary.quarantined, summary.skipped_steps) == ("halted", (), 5)


@pytest.mark.slow
def test_of_batches_of_one_row_each_is_left_out() -> None:
    training = build(model=lambda: nn.Linear(6, 3))
    summary = guard_of(training, loader_of(Rows(9, 13), 1), quiet=True).run(ROWS)
    assert summary.quarantined == (9, 13)


def test_where_no_row_can_be_told_the_batch_is_left_out_until_it_is_the_programs_fault() -> None:
    heard = EventList()
    guard = guard_of(build(), without(), listeners=[heard], quiet=True)
    guard.begin(10)
    error = OSError("the disk is gone")
    told = LoaderError(DataFault.BAD_SAMPLE, "OSError", "OSError: the disk is gone", "mine.py:7", "")
    answer = functools.partial(answer_unread, guard.parts.step.discarding, BadSamples(told, error, ReadAgain()))
    for _ in range(2):
        verdict = answer()
        assert verdict.outcome is not None
        assert (verdict.halt, verdict.outcome.action, verdict.outcome.applied) == (False, "skip_batch", False)
    assert {event.kind for event in heard.named("diagnosis")} == {"exception"}
    assert heard.named("diagnosis")[0].explanation.endswith("which row it was is not known")
    with pytest.raises(OSError, match="the disk is gone"):
        answer()
    assert guard.steps_done == 2


class Broken(Dataset[Any]):
    """An iterable that cannot go on."""

    def __iter__(self) -> Any:
        yield from without(epochs=1)[:2]
        raise ValueError("the stream broke")


def test_what_cannot_go_on_is_raised() -> None:
    guard: Guard = guard_of(build(), Broken(), quiet=True)
    with pytest.raises(ValueError, match="the stream broke"):
        guard.run(20)
    assert guard.program_at_fault is None
    assert guard.steps_done == 2
