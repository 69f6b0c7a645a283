"""What helps is found by the text that torch really raises."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils.data import default_collate

from supervisor.report.raised import SMALL_BATCH, mend_of

RAISING: dict[str, tuple[Callable[[], object], str]] = {
    "BatchNorm": (lambda: nn.BatchNorm1d(8)(torch.ones(1, 8)), SMALL_BATCH),
    "GroupNorm": (lambda: nn.GroupNorm(4, 4)(torch.ones(1, 4)), SMALL_BATCH),
    "InstanceNorm": (lambda: nn.InstanceNorm1d(4)(torch.ones(2, 4, 1)), "InstanceNorm takes statistics"),
    "rows of several shapes": (lambda: default_collate([torch.ones(2), torch.ones(3)]), "`collate_fn` that pads"),
}


@pytest.mark.parametrize("name", RAISING)
def test_what_torch_raises_is_known(name: str) -> None:
    raising, helps = RAISING[name]
    with pytest.raises((ValueError, RuntimeError)) as caught:
        raising()
    assert helps in str(mend_of(str(caught.value)))


@pytest.mark.parametrize("said", [None, "", "ValueError: no such row"])
def test_nothing_is_claimed_of_others(said: str | None) -> None:
    assert mend_of(said) is None
