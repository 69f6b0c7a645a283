"""Blocks that leave no trace."""

from __future__ import annotations

import pytest
import torch
from support.exact import assert_same
from support.parts import BATCHES, Parts
from support.traces import all_of

from supervisor.experiments.no_trace import forward_undone, updates_undone


@pytest.mark.parametrize("raises", [False, True])
def test_a_forward_pass_leaves_the_gradients_that_are_there(raises: bool) -> None:
    parts = Parts.of()
    parts.measured(BATCHES[0])
    before = all_of(parts.subject)
    assert before["gradients"]
    with pytest.raises(KeyError) if raises else torch.enable_grad(), forward_undone(parts.subject):  # type: ignore[attr-defined]
        parts.executor.probe([BATCHES[1]], graph=False)
        parts.model.eval()
        torch.rand(3)
        parts.model.count = 3
        if raises:
            raise KeyError
    assert_same(all_of(parts.subject), before)


@pytest.mark.parametrize("raises", [False, True])
def test_whole_updates_leave_none_either(raises: bool) -> None:
    parts = Parts.of()
    parts.applied(BATCHES[0])
    parts.measured(BATCHES[1])
    before, held = all_of(parts.subject), {p: p.grad for p in parts.model.parameters()}
    with pytest.raises(KeyError) if raises else torch.enable_grad(), updates_undone(parts.subject):  # type: ignore[attr-defined]
        parts.applied(BATCHES[2])
        parts.subject.optimizer.param_groups[0]["lr"] = 7.0
        if raises:
            raise KeyError
    assert_same(all_of(parts.subject), before)
    assert all(p.grad is held[p] for p in parts.model.parameters())
