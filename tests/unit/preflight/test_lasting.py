"""Whether the data last for the run is said where it can be seen, and else that it was not looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from supervisor.preflight.entry import JobTrial
from supervisor.preflight.lasting import begins_again, lasting
from supervisor.preflight.reading import reader_of
from supervisor.preflight.report import DataCheck, Preflight
from supervisor.preflight.spec import PreflightSpec

Spec = Callable[..., PreflightSpec]

TRAINER = '''
import itertools
from table import Table


class Once:
    """Looks as if it could be begun again, and cannot."""

    def __init__(self, batches):
        self.batches = iter(batches)

    def __iter__(self):
        return self.batches


class Streams(Table):
    @classmethod
    def from_config(cls, config, *, seed):
        trainer = super().from_config({}, seed=seed)
        batches = itertools.islice(itertools.cycle([*trainer.data]), config["batches"])
        trainer.data = (batch for batch in batches) if config["kind"] == "generator" else Once(batches)
        return trainer
'''
ENDLESS = None


@pytest.fixture
def tried(spec: Spec, tmp_path: Path) -> Callable[..., Preflight]:
    """What a preflight finds of a trainer whose data give so many batches, once."""

    def tried(kind: str, batches: int | None, steps: int, rows: int | None = None) -> Preflight:
        told = spec(rows, trainer="table:Streams", steps=steps, config={"kind": kind, "batches": batches})
        with (tmp_path / "table.py").open("a") as file:
            file.write(TRAINER.replace("from table import Table\n", ""))
        return JobTrial(told).run()

    return tried


def test_a_generator_that_ends_before_the_run_is_a_problem(tried: Callable[..., Preflight]) -> None:
    (problem,) = tried("generator", 40, steps=41).problems
    assert problem == (
        "the data ended after 40 batches and cannot begin again, and the run needs 41: "
        "give a list or a DataLoader, or fewer steps"
    )


def test_an_iterable_that_begins_once_alone_is_a_problem_too(tried: Callable[..., Preflight]) -> None:
    (problem,) = tried("once", 40, steps=1000).problems
    assert problem.startswith("the data ended after 40 batches and cannot begin again, and the run needs 1,000: ")


@pytest.mark.parametrize("kind", ["generator", "once"])
def test_one_that_lasts_is_none(tried: Callable[..., Preflight], kind: str) -> None:
    found = tried(kind, 40, steps=40)
    assert (found.problems, found.warnings) == ((), ())
    assert found.data is not None
    assert found.data.notes == ()


def test_one_that_ends_in_the_first_updates_says_what_the_run_needs(tried: Callable[..., Preflight]) -> None:
    (problem,) = tried("generator", 3, steps=50).problems
    assert problem == (
        "data: the iterator ended after 3 batches and cannot begin again: "
        "give a list or a DataLoader, or fewer steps (the run needs 50 batches)"
    )


def test_one_that_is_as_short_as_the_run_is_none(tried: Callable[..., Preflight]) -> None:
    found = tried("generator", 3, steps=3)
    assert found.problems == ()
    assert found.step is not None
    assert found.step.applied == 3


@pytest.mark.parametrize("kind", ["generator", "once"])
def test_an_endless_one_is_read_as_far_as_the_run_needs(tried: Callable[..., Preflight], kind: str) -> None:
    found = tried(kind, ENDLESS, steps=50)
    assert (found.problems, found.warnings) == ((), ())
    assert found.data is not None
    # A generator gives a batch once, and some have served the updates.
    assert 44 <= found.data.read <= 50
    assert (found.data.complete, found.data.enough, found.data.notes) == (False, True, ())


def test_with_few_rows_it_is_said_what_was_not_looked_at(tried: Callable[..., Preflight]) -> None:
    found = tried("generator", 40, steps=1000, rows=64)
    assert found.problems == ()
    assert found.data is not None
    assert (found.data.read, found.data.complete, found.data.enough) == (2, False, False)
    (note,) = found.data.notes
    assert note == (
        "not looked at: whether the data last for the 1,000 batches that the run needs; `--rows all` reads so many"
    )


class Again:
    """Gives two batches, each time that it is begun."""

    def __iter__(self) -> Iterator[Tensor]:
        return iter([torch.zeros(4)] * 2)


class Raises:
    """Cannot be begun."""

    def __iter__(self) -> Iterator[Tensor]:
        raise OSError("the disk is gone")


@pytest.mark.parametrize(
    ("data", "again"), [(Again(), True), ([torch.zeros(4)], True), (iter([torch.zeros(4)]), False)]
)
def test_what_can_be_begun_again(data: Any, again: bool) -> None:
    list(reader_of(data).read(None))
    assert begins_again(data) is again


def test_data_that_raise_as_they_begin_again_are_told_as_they_raise() -> None:
    with pytest.raises(OSError, match="the disk is gone"):
        begins_again(Raises())


def data(read: int, *, complete: bool = True, enough: bool = False, total: int | None = None) -> DataCheck:
    return DataCheck(unit="batches", total=total, read=read, complete=complete, enough=enough, rows=4 * read)


def test_data_that_begin_again_last_for_any_run() -> None:
    assert lasting(data(10), drawn=6, needed=1000, again=lambda: True) == (None, None)
    assert lasting(data(10, total=10, complete=False), drawn=6, needed=1000, again=lambda: False) == (None, None)


def test_rows_of_a_data_set_last() -> None:
    rows = data(3, complete=False).model_copy(update={"unit": "rows"})
    assert lasting(rows, drawn=6, needed=1000, again=lambda: False) == (None, None)
