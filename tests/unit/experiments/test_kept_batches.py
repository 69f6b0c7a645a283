"""Batches in a checkpoint: they come back as they were, or not at all."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import pytest
import torch
from support.exact import assert_same

from supervisor.experiments.kept_batches import from_checkpoint, to_checkpoint

Named = namedtuple("Named", ["x"])


@pytest.mark.parametrize(
    "batches",
    [
        ((torch.arange(3.0), torch.arange(3)),),
        ({"x": torch.ones(2, dtype=torch.bfloat16), "name": "a"}, {"x": torch.zeros(1), "name": None}),
        (["text", 3],),
        (),
    ],
    ids=["a pair", "two of an update", "no tensor", "none"],
)
def test_they_come_back_as_a_copy(batches: tuple[Any, ...]) -> None:
    kept = to_checkpoint(batches)
    assert kept is not None
    back = from_checkpoint(kept)
    assert_same(list(back), list(batches))
    for there in (batches[0][0],) if batches and isinstance(batches[0], tuple) else ():
        there.add_(1)
        assert not torch.equal(back[0][0], there)


@pytest.mark.parametrize(
    "batches",
    [
        (Named(torch.ones(2)),),
        (object(),),
        ((torch.ones(2), torch.ones(2, device="meta")),),
        (torch.ones(2), object()),
    ],
    ids=["a named tuple", "any object", "on two devices", "one of several"],
)
def test_what_would_come_back_as_something_else_is_not_kept(batches: tuple[Any, ...]) -> None:
    assert to_checkpoint(batches) is None
