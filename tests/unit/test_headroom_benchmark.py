"""The headroom benchmark: its faults grow as they say, and a forecast is right only where it comes true in time."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch

from benchmarks.headroom_faults import BEGINS, GRADUAL
from benchmarks.headroom_score import Truth, forecasts, of_fault, truth
from benchmarks.headroom_series import CHOOSING, REPORTED, Series, of_healthy
from supervisor.headroom import Forecast, Headroom, Quantity
from supervisor.policy import HeadroomWatch
from supervisor.records import Observation

# What benchmarks are made of breaks nothing that users run.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
FORECAST = Forecast(Quantity.WEIGHT_NORM, "w", 1.0, 10.0, 0.01, 200)


def series(*, passed_at: int | None, updates: int, failed: bool = False) -> Series:
    checks = []
    for update in range(9, updates, 10):
        norm = 1.0 if passed_at is None or update < passed_at else 11.0
        checks.append(Observation(update, update, 1.0, 1.0, weight_norms={"w": norm}, headroom=Headroom({}, {})))
    return Series([1.0] * updates, [1.0] * updates, checks, failed)


@pytest.mark.parametrize(
    ("passed_at", "updates", "expected"),
    [
        (600, 2000, Truth.RIGHT),
        (480, 2000, Truth.RIGHT),
        (450, 2000, Truth.SOONER),
        (900, 2000, Truth.LATER),
        (None, 2000, Truth.NEVER),
        (None, 700, Truth.OPEN),
    ],
)
def test_what_became_of_a_forecast(passed_at: int | None, updates: int, expected: Truth) -> None:
    assert truth(series(passed_at=passed_at, updates=updates), 400, FORECAST) is expected


def test_of_gradients_the_median_of_some_updates_has_to_pass() -> None:
    held = series(passed_at=None, updates=1000)
    held.norms = [1.0 if update < 500 or update % 3 == 0 else 20.0 for update in range(1000)]
    forecast = Forecast(Quantity.GRADIENT_NORM, "w", 1.0, 10.0, 0.01, 120)
    assert truth(held, 400, forecast) is Truth.RIGHT
    held.norms = [1.0 if update % 3 else 20.0 for update in range(1000)]
    assert truth(held, 400, forecast) is Truth.NEVER


def test_how_many_updates_ahead_a_failure_was_told_of() -> None:
    held = Series([1.0] * 700, [1.0] * 700, failed=True)
    for update in range(9, 700, 10):
        norms = {"w": math.exp(0.02 * max(0, update - BEGINS - 100))}
        held.checks.append(Observation(update, update, 1.0, 1.0, weight_norms=norms, headroom=Headroom({}, {})))
    result = of_fault(held, HeadroomWatch())
    assert (result.failed_at, result.before, len(result.told)) == (699, (), 1)
    assert result.ahead == 699 - result.told[0].update
    held.failed = False
    assert of_fault(held, HeadroomWatch()).ahead is None


@pytest.mark.parametrize("fault", GRADUAL, ids=lambda fault: f"{fault.kind}, {fault.workload}, {fault.rate}")
def test_a_fault_changes_nothing_before_it_begins_and_something_then(fault: object) -> None:
    assert fault in GRADUAL
    case = GRADUAL[GRADUAL.index(fault)]
    training = case.build(0)
    weights = [weight.detach().clone() for weight in training.model.parameters()]
    rates = [group["lr"] for group in training.optimizer.param_groups]
    seen = [(batch.number, batch.inputs.float().abs().mean()) for batch in islice(training.batches(), BEGINS + 60)]
    grown = torch.stack([scale for _, scale in seen[-40:]]).mean() / torch.stack([each for _, each in seen[:40]]).mean()
    changed = [not torch.equal(a, b) for a, b in zip(weights, training.model.parameters(), strict=True)]
    faster = [group["lr"] for group in training.optimizer.param_groups] != rates
    assert [any(changed), faster, bool(grown > 1.05)].count(True) == 1, (changed, faster, grown)


def test_a_healthy_workload_is_measured_at_every_tenth_update_and_kept(tmp_path: Path) -> None:
    name = "batch size 4"
    assert name in REPORTED
    assert not {*REPORTED} & {*CHOOSING}
    found = of_healthy(name, 0, 40, tmp_path)
    assert [check.update for check in found.checks] == [9, 19, 29, 39]
    assert len(found.losses) == len(found.norms) == 40
    assert all(check.headroom is not None and check.headroom.energy is not None for check in found.checks)
    assert forecasts(found, HeadroomWatch()) == ()
    (file,) = tmp_path.iterdir()
    again = of_healthy(name, 0, 40, tmp_path)
    assert (again.losses, again.checks) == (found.losses, found.checks)
    assert file.stat().st_size > 0


def test_it_says_what_it_takes() -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/headroom.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--keep" in done.stdout
