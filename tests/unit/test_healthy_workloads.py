"""The healthy workloads: each trains, and each curriculum changes where it says."""

from __future__ import annotations

import math
from itertools import islice

import pytest

from benchmarks.curricula import CHANGED_AT, CURRICULA, run
from benchmarks.method_workloads import METHODS

# What benchmarks are made of breaks nothing that users run.
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", METHODS)
def test_each_half_of_a_method_has_finite_losses_and_gradients_of_its_own(name: str) -> None:
    workload = METHODS[name](0)
    for half in (workload, workload.partner):
        for batch in islice(half.batches, 3) if half is not None else ():
            half.optimizer.zero_grad()
            loss = half.loss(batch)
            loss.backward()
            assert math.isfinite(float(loss.detach()))
            assert any(weight.grad is not None for weight in half.model.parameters())
            half.optimizer.step()


@pytest.mark.parametrize("name", CURRICULA)
def test_the_data_of_a_curriculum_change_where_it_says(name: str) -> None:
    *before, last, changed = islice(CURRICULA[name](0).workload.batches, CHANGED_AT + 1)
    assert {batch[0].shape for batch in before} == {last[0].shape}
    old_labels = {label for batch in before for label in batch[1].tolist()}
    assert (
        changed[0].shape != last[0].shape
        or set(changed[1].tolist()) - old_labels
        # Images have pixels from 0 to 1, mostly dark.
        or changed[0].min() < 0 <= last[0].min()
        or changed[0][16:].mean() > 0.6 > last[0][16:].mean()
    )


def test_a_curriculum_before_its_change_is_left_alone() -> None:
    came = run(CURRICULA["new classes at 500"](0), 40)
    assert (came.discarded, came.halted, came.shifts) == (0, False, 0)
