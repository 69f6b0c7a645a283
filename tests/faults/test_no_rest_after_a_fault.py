"""Acceptance: one fault leaves every detector as sharp as it was, and rejects nothing healthy afterwards."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from support.exact import seed_all
from torch import Tensor, nn

from supervisor import Guard

FAULT_AT, SPIKE_AT = 200, 210

Faulty = Callable[[Tensor, nn.Module], Tensor]


def in_gradient(value: float) -> Faulty:
    """One element of one gradient becomes `value`, while the loss stays what it is."""

    def faulty(loss: Tensor, model: nn.Module) -> Tensor:
        weight = next(model.parameters())
        handle = weight.register_hook(lambda grad: grad.index_put((torch.tensor(0),), torch.tensor(value)))
        weight.register_post_accumulate_grad_hook(lambda _: handle.remove())
        return loss

    return faulty


def raises(loss: Tensor, model: nn.Module) -> Tensor:
    raise ValueError("a bad row")


FAULTS: dict[str, Faulty] = {
    "NaN loss": lambda loss, model: loss * math.nan,
    "infinite loss": lambda loss, model: loss * math.inf,
    "NaN in a gradient": in_gradient(math.nan),
    "infinity in a gradient": in_gradient(math.inf),
    "gradient too large to square": in_gradient(1e30),
    "loss spike": lambda loss, model: loss + 1e4 * loss.detach(),
    "gradient spike": lambda loss, model: 1e6 * loss - (1e6 - 1) * loss.detach(),
    "exception": raises,
}


def noisy_rows() -> Iterator[tuple[Tensor, Tensor]]:
    """Rows whose labels are partly chance, so that the loss settles and keeps its noise."""
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(6, 3, generator=generator)
    while True:
        x = torch.randn(16, 6, generator=generator)
        yield x, (x @ weights + torch.randn(16, 3, generator=generator)).argmax(1)


# What poisons a window does so at once; the long stretch is for the kinds that are known to.
@pytest.mark.parametrize(("name", "after"), [(name, 1000 if name.startswith("NaN") else 130) for name in FAULTS])
def test_a_spike_soon_after_a_fault_is_caught_and_all_healthy_steps_pass(name: str, after: int) -> None:
    seed_all(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    number = 0

    def loss(batch: Any) -> Tensor:
        value = nn.functional.cross_entropy(model(batch[0]), batch[1])
        if number == FAULT_AT:
            return FAULTS[name](value, model)
        return 10 * value if number == SPIKE_AT else value

    # By counting alone: with experiments a spike is only tried, and one that harms nothing stands.
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    guard = Guard(model=model, optimizer=optimizer, loss=loss, policy={"experiments": None})
    flagged = []
    for number, batch in enumerate(noisy_rows()):
        if number > SPIKE_AT + after:
            break
        outcome = guard.step(batch)
        flagged += [] if outcome.applied else [(number, str(outcome.signals[0].name))]
    assert [at for at, _ in flagged] == [FAULT_AT, SPIKE_AT]
    assert flagged[1][1] == "loss_spike"
