"""A flagged step, run again from the state before it, and no trace of that afterwards."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.exact import assert_same, generators
from support.parts import BATCHES, Parts
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from supervisor.diagnosis.probe import Probe
from supervisor.diagnosis.replay import DiagnosisFailed, Replays, ReplaysSpent
from supervisor.diagnosis.trace import Trace
from supervisor.testing.tiny import with_nan
from supervisor.training.tree import clone


def drawing() -> Parts:
    """Parts whose loss depends on torch's generator and on running statistics."""
    parts = Parts.of()
    plain = parts.loss
    statistics = parts.model.get_buffer("norm.running_mean")

    def loss(batch: Any) -> Tensor:
        x_BF, y_B = batch
        return (1 + torch.rand(()) + statistics.sum()) * plain((x_BF, y_B))

    return Parts.of(parts.model, loss, scaler=GradScaler("cpu", init_scale=8.0))


def replays_of(parts: Parts, *batches: Any, most: int = 10) -> tuple[Replays, tuple[Any, ...], float]:
    """Of an update that was discarded; its batches and the loss it had."""
    attempt = parts.flagged(*batches)
    replays = Replays(parts.subject, parts.executor, attempt.before, attempt.scaler_before, attempt.place, most=most)
    return replays, attempt.batches, attempt.seen.loss


def state(parts: Parts) -> dict[str, Any]:
    scaler = parts.subject.scaler
    return clone(
        {
            "model": parts.model.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "gradients": parts.gradients(),
            "torch": generators()["torch"],
        }
    )


def test_each_begins_where_the_step_began() -> None:
    parts = drawing()
    replays, batches, loss = replays_of(parts, BATCHES[0])
    torch.rand(3)
    assert [replays.run(batches).loss for _ in range(3)] == [loss] * 3
    assert replays.done == 3


def test_the_scaler_begins_where_it_stood_too() -> None:
    parts = drawing()
    replays, batches, _ = replays_of(parts, with_nan(BATCHES[0]))
    assert parts.subject.loss_scale == 4.0
    replays.run(batches)
    assert parts.subject.loss_scale == 8.0


def test_everything_is_afterwards_what_it_was_save_the_gradients() -> None:
    parts = drawing()
    replays, batches, _ = replays_of(parts, with_nan(BATCHES[0]))
    before = state(parts)
    with replays.undone():
        replays.run(batches)
        assert state(parts)["gradients"]
        parts.model.eval()
    assert_same(state(parts), before)
    assert parts.model.training


def test_that_is_so_when_something_raises() -> None:
    parts = drawing()
    replays, batches, _ = replays_of(parts, BATCHES[0])
    before = state(parts)

    def raises() -> None:
        with replays.undone():
            replays.run(batches)
            raise KeyError

    with pytest.raises(KeyError):
        raises()
    assert_same(state(parts), before)


def test_where_none_was_run_nothing_is_touched() -> None:
    parts = drawing()
    attempt = parts.measured(BATCHES[0])
    replays = Replays(parts.subject, parts.executor, attempt.before, None, attempt.place, most=1)
    before = state(parts)
    with replays.undone():
        pass
    assert_same(state(parts), before)
    assert before["gradients"]


def test_so_many_and_no_more() -> None:
    replays, batches, _ = replays_of(Parts.of(), BATCHES[0], most=2)
    assert replays.left == 2
    replays.run(batches)
    replays.run(batches)
    with pytest.raises(ReplaysSpent, match="`diagnose: max_replays` allows an incident are spent"):
        replays.run(batches)
    assert (replays.done, replays.left) == (2, 0)


def test_a_step_that_cannot_be_run_again_says_why() -> None:
    parts = Parts.of(replayed=False)
    replays, batches, _ = replays_of(parts, BATCHES[0])
    with pytest.raises(DiagnosisFailed, match="no loss function that it may call again"):
        replays.run(batches)
    assert replays.done == 0


def test_the_gradients_are_those_of_the_last() -> None:
    parts = Parts.of()
    replays, batches, _ = replays_of(parts, BATCHES[0])
    assert replays.gradients() == {}
    replays.run(batches)
    first = replays.gradients()
    assert first.keys() == {name for name, _ in parts.model.named_parameters()}
    kept = {name: grad.clone() for name, grad in first.items()}
    replays.run(BATCHES[1:2])
    assert not torch.equal(replays.gradients()["inner.weight"], kept["inner.weight"])
    # What somebody still holds is not written to.
    assert_same(first, kept)


def test_it_is_watched_by_what_it_is_given() -> None:
    parts = Parts.of()
    replays, batches, _ = replays_of(parts, with_nan(BATCHES[0]))
    probe, trace = Probe(parts.model), Trace(parts.model)
    assert replays.run(batches, probe).exception is not None
    assert probe.module == "inner"
    replays.run(batches, trace)
    assert [call.module for call in trace.calls][-1] == ""
    assert trace.surfaced() == "inner"
