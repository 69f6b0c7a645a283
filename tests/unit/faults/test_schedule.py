"""When a fault strikes: the same batches whatever else is drawn, and as many as its rate says."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.exact import assert_same, generators, seed_all

from supervisor import InputError
from supervisor.config.origins import Origins
from supervisor.faults import FaultScript, load_faults
from supervisor.faults.model import NanBatch, NanGradient

rates = st.floats(min_value=1e-6, max_value=1.0)
seeds = st.integers(0, 2**63 - 1)


@given(rates, seeds, st.integers(0, 100), st.integers(0, 10**9), st.integers(0, 1000))
def test_a_draw_is_the_same_in_every_process_and_touches_no_generator(
    rate: float, seed: int, index: int, number: int, other: int
) -> None:
    seed_all(other)
    before = generators()
    drawn = NanGradient(rate=rate, seed=seed).begins_at(index, number)
    assert_same(generators(), before)
    random.random(), np.random.rand(), torch.rand(1)
    assert NanGradient(rate=rate, seed=seed).begins_at(index, number) is drawn


def test_rates_are_kept_and_seeds_and_faults_differ() -> None:
    """10,000 draws of a probability of 0.01: 100 strikes, give or take four standard deviations."""
    struck = {
        (seed, index): {n for n in range(10_000) if NanGradient(rate=0.01, seed=seed).begins_at(index, n)}
        for seed in (0, 1)
        for index in (0, 1)
    }
    assert all(60 <= len(numbers) <= 140 for numbers in struck.values())
    assert len({frozenset(numbers) for numbers in struck.values()}) == 4
    # What was drawn once stays drawn: logs of old runs are read by newer versions.
    assert sorted(struck[0, 0])[:5] == [88, 98, 142, 226, 312]


@given(seeds, st.integers(0, 3), st.integers(0, 500))
def test_a_certain_fault_strikes_at_every_batch_from_its_first(seed: int, index: int, first: int) -> None:
    fault = NanGradient(rate=1.0, seed=seed, from_batch=first)
    assert [fault.begins_at(index, n) for n in (first - 1, first, first + 1)] == [False, True, True]


@given(st.floats(0.01, 0.5), seeds, st.integers(1, 20), st.integers(0, 300))
def test_batches_in_a_row_follow_each_draw(rate: float, seed: int, batches: int, number: int) -> None:
    single = NanBatch(rate=rate, seed=seed)
    begun = any(single.begins_at(0, n) for n in range(max(0, number - batches + 1), number + 1))
    assert NanBatch(rate=rate, seed=seed, batches=batches).covers(0, number) is begun


@given(st.integers(0, 10**12), st.integers(1, 10**9), st.integers(-2, 2))
def test_batches_in_a_row_from_a_written_one(first: int, batches: int, off: int) -> None:
    fault = NanBatch(at_batch=first, batches=batches)
    assert fault.covers(0, first)
    assert fault.covers(0, first + batches - 1)
    assert not fault.covers(0, first - 1)
    assert not fault.covers(0, first + batches)
    assert fault.covers(0, first + off) is (0 <= off < batches)


@pytest.mark.parametrize(
    ("fault", "pattern"),
    [
        ({"at_batch": 3, "rate": 0.1}, r"faults\.0\.rate: stands beside at_batch: write one of the two"),
        ({"at_batch": 3, "seed": 1}, r"faults\.0\.seed: says nothing without rate: write `rate"),
        ({"at_batch": 3, "from_batch": 1}, r"faults\.0\.from_batch: says nothing without rate"),
        ({}, r"faults\.0\.at_batch: is missing, and so is rate: write `at_batch: 100`"),
        ({"rate": 0.0}, r"faults\.0\.rate: .*: write a number above 0"),
        ({"rate": 1.5}, r"faults\.0\.rate: .*: write `rate: 1` or less"),
        ({"rate": 0.1, "batches": 1001}, r"faults\.0\.batches: 1001 is too large: write `batches: 1000` or less"),
    ],
    ids=str,
)
def test_a_time_that_cannot_be_is_told_with_its_mend(fault: dict[str, Any], pattern: str) -> None:
    with pytest.raises(InputError, match=pattern):
        load_faults([{"kind": "nan_batch", **fault}], Origins("job.yaml"))


def test_every_kind_says_what_is_expected_of_it() -> None:
    """The catalogue, whole: nobody can add a kind whose detection nothing is measured against."""
    schema = FaultScript.model_json_schema()
    kinds = set(schema["properties"]["faults"]["items"]["discriminator"]["mapping"])
    wanted = (
        "nan_batch inf_batch outlier_batch nan_sample nan_gradient inf_gradient overflow_gradient nan_weight bit_flip "
        "nan_optimizer_state lr_spike forward_exception out_of_memory hang kill_worker corrupt_checkpoint disk_full "
        "slow_step"
    )
    assert kinds == set(wanted.split())
    for kind in kinds:
        time = {"rows": [1]} if kind == "nan_sample" else {"at_batch": 1}
        (fault,) = load_faults([{"kind": kind, **time}], Origins("job.yaml"))
        assert fault.expected_signals
