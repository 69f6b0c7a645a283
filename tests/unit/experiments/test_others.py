"""Other batches are tried in place of one that raised, and nothing of it stays."""

from __future__ import annotations

from typing import Any

import pytest
from support.exact import assert_same, generators
from support.training import build, guard_of, healthy_batches

from supervisor.experiments import OtherBatches
from supervisor.records import Observation
from supervisor.update import Attempt

BATCHES = healthy_batches(5)


def others_of(guard: Any, data: Any = None) -> OtherBatches:
    parts = guard.parts
    return OtherBatches(parts.subject, parts.executor, data or parts.data, 1)


def begun(guard: Any) -> Attempt:
    guard.begin(10)
    attempt: Attempt = guard.parts.step.begin(guard.parts.data.give(1))
    return attempt


def test_each_is_observed_from_the_same_state_and_comes_again() -> None:
    training = build(draws=True)
    guard = guard_of(training, BATCHES)
    attempt = begun(guard)
    state, draws = {k: v.clone() for k, v in training.model.state_dict().items()}, generators()
    found = others_of(guard).observed(attempt, 2)
    assert found is not None
    assert [type(each) for each in found] == [Observation] * 2
    assert found == others_of(guard).observed(attempt, 2)
    assert_same(training.model.state_dict(), state)
    assert_same(generators(), draws)
    assert all(parameter.grad is None for parameter in training.model.parameters())
    assert guard.parts.data.next() is BATCHES[1]


def test_what_they_raise_is_told_with_its_line() -> None:
    training = build()

    def loss(batch: Any) -> Any:
        if batch is not BATCHES[0] and bool((batch[0] == BATCHES[2][0]).all()):
            raise KeyError("a")
        return training.loss(batch)

    guard = guard_of(training, BATCHES, loss=loss)
    found = others_of(guard).observed(begun(guard), 2)
    assert found is not None
    assert [each.exception for each in found] == [None, "KeyError: 'a'"]
    assert found[1].exception_where == f"{__file__}:{loss.__code__.co_firstlineno + 2}"


@pytest.mark.parametrize("why", ["no second call", "the caller draws", "no more batches"])
def test_none_are_had(why: str) -> None:
    training = build()
    data: Any = iter(BATCHES[:2]) if why == "no more batches" else BATCHES
    if why == "the caller draws":
        guard = guard_of(training)
        guard.begin(10)
        attempt = guard.parts.step.begin((BATCHES[0],))
    else:
        guard = guard_of(training, data, replay=why != "no second call")
        attempt = begun(guard)
    assert others_of(guard).observed(attempt, 2) is None
    if why == "no more batches":
        assert guard.parts.data.next() is BATCHES[1]
