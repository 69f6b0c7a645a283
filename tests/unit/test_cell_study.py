"""The parts of `benchmarks/cells.py`, tiny: they measure what they say."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.cell_study.bounds import bounds, through_the_cell, through_the_journey
from benchmarks.cell_study.common import CELLS, QUICK, fresh_model, table, worst
from benchmarks.cell_study.cost import cost, kept_for_backward
from benchmarks.cell_study.endurance import extremes, large_weights
from benchmarks.cell_study.faults import RECURRENT, rescued, script_of
from energy_flow.config import CellName
from supervisor.config.origins import Origins
from supervisor.faults import load_faults

# What benchmarks are made of breaks nothing that users run.
pytestmark = pytest.mark.slow

TINY = replace(QUICK, rounds=2, flow_steps=3, flows=16, training_steps=2)


def test_all_cells_get_the_same_weights_around_them() -> None:
    states = [fresh_model(name, 3).state_dict() for name in CELLS]
    shared = [key for key in states[0] if not key.startswith("carrier.gru.")]
    for name, state in zip(CELLS, states, strict=True):
        assert {key for key in state if not key.startswith(f"carrier.{name}.")} == set(shared)
        assert all(torch.equal(state[key], states[0][key]) for key in shared), name


def test_gradients_through_a_mingru_stay_small_where_those_of_a_gru_explode() -> None:
    plan = replace(QUICK, flow_steps=30, flows=256)
    grown = {name: through_the_cell(name, 20, 0, plan) for name in ("gru", "mingru", "lru")}  # type: ignore[arg-type]
    assert grown["gru"] > 1e4
    assert grown["mingru"] < 100
    assert grown["lru"] < 1e4


@pytest.mark.parametrize("name", CELLS)
def test_a_route_that_is_cut_gives_another_gradient(name: CellName) -> None:
    both, state, place = (
        through_the_journey(name, 1, 0, 8, *routes) for routes in ((True, True), (True, False), (False, True))
    )
    assert all(math.isfinite(each) and each > 0 for each in (both, state, place))
    assert len({both, state, place}) == 3


def test_what_is_kept_for_backward_counts_each_storage_once() -> None:
    weight = torch.ones(10, requires_grad=True)
    assert kept_for_backward(lambda: (weight * 2).sum()) in (0, 40)
    values = torch.ones(10)
    assert kept_for_backward(lambda: (weight * values).sum()) == 40
    assert kept_for_backward(lambda: (weight * values[:5].repeat(2)).sum() + (weight * values).sum()) == 80


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("quick", [True, False])
def test_the_faults_strike_the_cell_itself(name: CellName, quick: bool, tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text(script_of(name, quick), encoding="utf-8")
    script = load_faults(str(tmp_path / "f.yaml"), Origins("job.yaml"))
    aimed = [fault.parameter for fault in script if getattr(fault, "parameter", None) is not None]
    at_the_cell = [glob for glob in aimed if glob.startswith("carrier.")]
    assert len(at_the_cell) >= 2
    assert set(at_the_cell) == {f"carrier.{name}.*", f"carrier.{name}.{RECURRENT[name]}"}
    assert RECURRENT[name] in dict(fresh_model(name, 0).carrier.cell.named_parameters())


def test_a_run_is_rescued_where_it_comes_to_the_same() -> None:
    def score(status: str, error: Any) -> Any:
        ended = {"status": status, "metrics": {"squared_error": error}}
        return {"rehearsal": ended, "reference": {"metrics": {"squared_error": 1.0}}}

    assert rescued(score("finished", 1.04))
    assert not rescued(score("finished", 1.06))
    assert not rescued(score("halted", 1.0))


def test_the_worst_of_the_seeds_is_the_largest_and_nothing_hides_in_it() -> None:
    assert worst(lambda seed: [1.0, 3.0, 2.0][seed], 3) == 3.0
    assert worst(lambda seed: [1.0, math.nan][seed], 2) == math.inf


def test_a_table_is_one_of_markdown() -> None:
    assert table(("a", "b"), [(1, 2.5)]) == ["| a | b |", "|---|---|", "| 1 | 2.5 |", ""]


@pytest.mark.slow
@pytest.mark.parametrize("part", [cost, bounds, extremes, large_weights])
def test_each_part_has_a_row_for_each_cell(part: Any) -> None:
    lines = part(TINY)
    for name in CELLS:
        assert sum(line.startswith(f"| {name} |") for line in lines) >= 1
