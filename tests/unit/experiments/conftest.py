"""One thread, since the models here are small; and each test draws the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from supervisor.training.rng import preserved_rng

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _undisturbed() -> Iterator[None]:
    with preserved_rng():
        torch.manual_seed(0)
        yield
