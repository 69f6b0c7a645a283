"""Whether odd batches can be learnt beside what is known, asked of real forks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from support.examined import Examined
from support.parts import Parts
from torch import Tensor, nn

from supervisor.experiments.fork import Forks
from supervisor.experiments.learnable import Learnt, can_be_learnt

Change = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]


def of_another_kind(x_BF: Tensor, y_BO: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The last feature, which was always 0, decides: nothing that is known speaks against it."""
    sign = 1.0 - 2.0 * (number % 2)
    return torch.cat([x_BF[:, :3], torch.full((len(x_BF), 1), 3.0 * sign)], dim=1), y_BO + 6.0 * sign


def wrong_targets(x_BF: Tensor, y_BO: Tensor, number: int) -> tuple[Tensor, Tensor]:
    return x_BF, -y_BO


def not_finite(x_BF: Tensor, y_BO: Tensor, number: int) -> tuple[Tensor, Tensor]:
    return torch.full_like(x_BF, math.nan), y_BO


def odd_of(setting: Examined, change: Change, count: int = 12) -> list[Any]:
    return [(change(*setting.batches[number % 4], number),) for number in range(count)]


def asked(setting: Examined, odd: Sequence[Any], **changed: Any) -> Learnt | None:
    levels = setting.detectors.levels
    assert levels is not None
    forks = Forks(setting.parts.subject, setting.parts.executor, setting.pin(), lambda: False)
    canaries = changed.pop("canaries", setting.canaries.usable())
    with forks.undone():
        return can_be_learnt(forks, odd, canaries, replace(levels, **changed))


def test_a_new_kind_that_leaves_the_old_one_alone_can_be() -> None:
    setting = Examined()
    learnt = asked(setting, odd_of(setting, of_another_kind))
    assert learnt is not None
    assert learnt.learnt
    assert learnt.loss < learnt.bar
    assert learnt.known <= learnt.known_bar


def test_wrong_targets_cannot_be() -> None:
    setting = Examined()
    learnt = asked(setting, odd_of(setting, wrong_targets))
    assert learnt is not None
    assert not learnt.learnt
    assert learnt.known > learnt.known_bar


def test_it_is_judged_by_one_in_three_that_it_has_not_seen() -> None:
    """Those are of another kind than what it is trained on, and it knows nothing of them."""
    setting = Examined()
    odd = odd_of(setting, of_another_kind)
    others = odd_of(setting, lambda x_BF, y_BO, number: (x_BF, y_BO))
    hidden = [each if number % 3 == 0 else others[number] for number, each in enumerate(odd)]
    learnt = asked(setting, hidden)
    assert learnt is not None
    assert not learnt.learnt
    seen = [others[number] if number % 3 == 0 else each for number, each in enumerate(odd)]
    learnt = asked(setting, seen)
    assert learnt is not None
    assert learnt.learnt


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_batches_tell_nothing(count: int) -> None:
    setting = Examined()
    assert asked(setting, odd_of(setting, of_another_kind, count)) is None


def test_nor_is_there_an_answer_without_canaries_or_where_a_fork_is_not_finite() -> None:
    setting = Examined()
    assert asked(setting, odd_of(setting, of_another_kind), canaries=()) is None
    assert asked(setting, odd_of(setting, not_finite)) is None


class GivesTheLoss(nn.Module):
    """Whose root module returns the loss itself, so that zeros in the place of its output say nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 1)

    def forward(self, batch: Any) -> Tensor:
        return nn.functional.mse_loss(self.inner(batch[0]), batch[1])


def test_where_zeros_say_nothing_the_losses_themselves_are_the_bars() -> None:
    setting = Examined()
    outer = GivesTheLoss()
    outer.inner = setting.model
    optimizer = torch.optim.SGD(outer.parameters(), lr=0.05)
    parts = Parts.of(outer, lambda batch: outer(batch), optimizer=optimizer)
    forks = Forks(parts.subject, parts.executor, parts.subject.capture(), lambda: False)
    odd = odd_of(setting, of_another_kind)
    levels, canaries = setting.detectors.levels, setting.canaries.usable()
    assert levels is not None
    with forks.undone():
        learnt = can_be_learnt(forks, odd, canaries, levels)
        at_root = forks.at_root(odd[::3])
    assert learnt is not None
    was = sorted(canary.loss for canary in canaries)
    assert learnt.bar == pytest.approx(at_root / 2)
    assert learnt.known_bar == pytest.approx((was[1] + was[2]) / 2 + 0.15 * levels.learnt)


def test_it_says_both_losses() -> None:
    said = str(Learnt(True, 0.5, 1.0, 0.25, 0.75))
    assert "a median loss of 0.5 on others like them" in said
    assert "of 0.25 on the known ones" in said
