"""Rows far outside are found, and none of healthy data is, however its columns are distributed."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from supervisor.preflight import columns
from supervisor.preflight.columns import MOST_CANDIDATES, Outlier, TensorColumns, column_of

ROWS, WIDTH = 1500, 12


def normal(generator: torch.Generator, *more: int) -> Tensor:
    return torch.randn(ROWS, WIDTH, *more, generator=generator, dtype=torch.float64)


def uniform(generator: torch.Generator) -> Tensor:
    return torch.rand(ROWS, WIDTH, generator=generator, dtype=torch.float64)


def classes(generator: torch.Generator) -> Tensor:
    return torch.randint(WIDTH, (ROWS,), generator=generator)


def strokes(generator: torch.Generator) -> Tensor:
    """Dark images with noise, bright in the middle, and now and then in a corner."""
    images = 1e-3 * torch.randn(ROWS, 1, 20, 20, generator=generator)
    images[:, :, 5:15, 5:15] += (torch.rand(ROWS, 1, 10, 10, generator=generator) < 0.5).float()
    images[::200, :, 0, 0] = 1.0
    return images


HEALTHY: dict[str, Callable[[torch.Generator], Tensor]] = {
    "normal": normal,
    "float16": lambda g: normal(g).half(),
    "uniform": uniform,
    "exponential": lambda g: -uniform(g).log(),
    "lognormal": lambda g: normal(g).exp(),
    "lognormal, sigma 2": lambda g: (2 * normal(g)).exp(),
    "Student, 3 degrees": lambda g: normal(g) / normal(g, 3).square().mean(2).sqrt(),
    "Student, 2 degrees": lambda g: normal(g) / normal(g, 2).square().mean(2).sqrt(),
    "one-hot": lambda g: torch.nn.functional.one_hot(classes(g), WIDTH).double(),
    "rare class": lambda g: (uniform(g) < 0.001).double(),
    "constant": lambda g: torch.full((ROWS, WIDTH), 0.1, dtype=torch.float64),
    "constant but for rounding": lambda g: 1e6 + 1e-4 * normal(g),
    "ids": lambda g: torch.randint(10**9, (ROWS, WIDTH), generator=g).double(),
    "ids in order": lambda g: torch.arange(ROWS * WIDTH).reshape(ROWS, WIDTH).double(),
    "years": lambda g: (2000 + 20 * uniform(g)).floor(),
    "counts": lambda g: torch.poisson(0.05 + 3 * uniform(g).square(), generator=g),
    "sparse lognormal": lambda g: (uniform(g) < 0.05) * normal(g).exp(),
    "units of their own": lambda g: normal(g) * 10.0 ** torch.arange(WIDTH),
    "images": lambda g: (torch.rand(ROWS, 1, 9, 9, generator=g) < 0.1) * torch.rand(ROWS, 1, 9, 9, generator=g),
    "images, dark at the edge": strokes,
    "images, dark at the edge, flat": lambda g: strokes(g).flatten(1),
    "images, flat, with noise": lambda g: (
        (torch.rand(ROWS, 400, generator=g) < 0.02) * 1.0 + 1e-3 * torch.randn(ROWS, 400, generator=g)
    ),
    "one number a row": lambda g: normal(g)[:, 0],
    "few": lambda g: normal(g)[:20] * 10.0 ** torch.arange(20)[:, None],
}


def outliers(rows: Tensor, block: int = 64) -> list[Outlier]:
    known = TensorColumns()
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        known.add(part, range(start, start + len(part)))
    return known.outliers()[0]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("kind", HEALTHY)
def test_healthy_data_give_no_report(kind: str, seed: int) -> None:
    assert outliers(HEALTHY[kind](torch.Generator().manual_seed(seed))) == []


@pytest.mark.parametrize("kind", ["normal", "uniform", "exponential", "units of their own", "years", "ids", "images"])
def test_a_row_times_a_thousand_is_found_and_no_other(kind: str) -> None:
    rows = HEALTHY[kind](torch.Generator().manual_seed(0)).float()
    rows[700] *= 1000
    assert [each.row for each in outliers(rows)] == [700]


def test_a_placeholder_in_a_column_is_found_with_its_column() -> None:
    rows = normal(torch.Generator().manual_seed(0))
    rows[[3, 900], 5] = -9999.0
    found = outliers(rows)
    assert [(each.row, each.column, each.value) for each in found] == [(3, 5, -9999.0), (900, 5, -9999.0)]
    assert found[0].known.limit() == pytest.approx(95, rel=0.2)


@pytest.mark.parametrize("at", [0, 600, ROWS - 1])
def test_it_does_not_matter_when_the_row_comes_nor_in_blocks_of_which_size(at: int) -> None:
    rows = normal(torch.Generator().manual_seed(0))
    rows[at] *= 1000
    assert [each.row for each in outliers(rows)] == [each.row for each in outliers(rows, block=1)] == [at]


def test_what_looked_odd_at_first_is_judged_by_all_that_came() -> None:
    """Sorted data: the second half is on another scale than the first."""
    small, large = normal(torch.Generator().manual_seed(0)), 1000 * normal(torch.Generator().manual_seed(1))
    assert outliers(torch.cat([small, large])) == []


def test_where_many_rows_are_outside_that_is_how_the_data_are() -> None:
    rows = normal(torch.Generator().manual_seed(0))
    known = TensorColumns()
    # In a column of its own each, so that no column knows its tail by them.
    for column in range(WIDTH):
        rows[column * 100 : column * 100 + 5, column] = 1e6
    known.add(rows, range(ROWS))
    assert known.outliers() == ([], 5 * WIDTH)


def test_what_waits_for_the_judgement_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "MOST_CANDIDATES", 8)
    rows = normal(torch.Generator().manual_seed(0))
    rows[:16, 0] = 1e6
    known = TensorColumns()
    known.add(rows, range(ROWS))
    assert known.outliers() == ([], 8)
    assert MOST_CANDIDATES == 4096


def test_too_few_values_say_nothing() -> None:
    assert column_of(torch.arange(49.0, dtype=torch.float64)) is None
    assert column_of(torch.arange(50.0, dtype=torch.float64)) is not None
    assert column_of(torch.zeros(1000, dtype=torch.float64)) is None


def test_the_tail_is_that_of_the_values() -> None:
    values = torch.cat([torch.zeros(900), torch.arange(1.0, 101.0)]).double()
    known = column_of(values)
    assert known is not None
    assert (known.median, known.spread) == (0.0, 50.0)
    assert known.tail == pytest.approx(math.log(2.326 / 0.6745))


def test_nothing_gives_nothing() -> None:
    known = TensorColumns()
    known.add(torch.zeros(0, 3), [])
    assert known.outliers() == ([], 0)
