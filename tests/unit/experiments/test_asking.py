"""Asking a fork whether odd batches can be learnt: what it begins from, and what is put on record."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.exact import assert_same
from support.examined import Examined
from support.traces import all_of

from supervisor.experiments.asking import ask_fork

BEYOND = 3.0
"""The last feature of a batch of another kind; that of the known ones is 0."""


def odd_of(setting: Examined, *, learnable: bool) -> list[Any]:
    updates = []
    for number in range(12):
        x_BF, y_BO = setting.batches[number % 4]
        if learnable:
            sign = 1.0 - 2.0 * (number % 2)
            x_BF = torch.cat([x_BF[:, :3], torch.full((len(x_BF), 1), sign * BEYOND)], dim=1)
            y_BO = y_BO + sign * 6.0
        updates.append(((x_BF, y_BO if learnable else -y_BO),))
    return updates


def asked(setting: Examined, *, learnable: bool = True, **given: Any) -> Any:
    attempt = setting.parts.measured(setting.batches[0], place=setting.place())
    odd, stretch = odd_of(setting, learnable=learnable), setting.stretch()
    setting.parts.subject.drop_gradients()
    before = all_of(setting.parts.subject)
    learnt = ask_fork(setting.examining, attempt, stretch, given.get("root"), odd)
    assert_same(all_of(setting.parts.subject), before)
    return learnt


def test_what_can_be_learnt_beside_what_is_known_is_unharmed() -> None:
    setting = Examined()
    learnt = asked(setting)
    assert learnt is not None
    assert learnt.learnt
    (event,) = setting.heard
    assert (event.kind, event.verdict, event.batches) == ("fork", "unharmed", 12)
    assert (event.before, event.after, event.why) == (learnt.bar, learnt.loss, str(learnt))


def test_what_contradicts_what_is_known_is_not() -> None:
    setting = Examined()
    learnt = asked(setting, learnable=False)
    assert learnt is not None
    assert not learnt.learnt
    assert setting.heard[0].verdict == "harmed"


def test_it_begins_from_the_root_that_is_given() -> None:
    setting = Examined()
    root = setting.pin()
    here = asked(setting, root=root)
    setting.damage(50.0)
    elsewhere = asked(setting)
    assert asked(setting, root=root) == here != elsewhere


@pytest.mark.parametrize(
    "changes",
    [{"warm": 0}, {"replayed": False}, {"snapshot": {"keep": 0}}, {"stopping": lambda: True}],
    ids=["nothing known", "no replay", "no copies", "a stop"],
)
def test_where_it_cannot_be_asked_nothing_is_said(changes: dict[str, Any]) -> None:
    setting = Examined(**changes)
    assert asked(setting) is None
    assert setting.heard == []
