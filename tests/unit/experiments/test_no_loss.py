"""A loss of which no update can be made, amid a run: the program's fault, or one batch's."""

from __future__ import annotations

from typing import Any

import pytest
from support.exact import assert_same
from support.examined import Examined
from support.traces import all_of

from supervisor.evidence import Blame, Evidence
from supervisor.experiments.no_loss import IN_A_ROW, NoLoss
from supervisor.update import Attempt, LossError


def none() -> float:
    raise LossError("loss(batch) must return a tensor with a graph", none)


def other() -> float:
    raise ValueError("no such row")


def attempt_of(setting: Examined) -> Attempt:
    """The next update of it, whose loss is none."""
    fault, setting.fault = setting.fault, none
    attempt = setting.parts.measured(setting.batches[0], place=setting.place())
    setting.fault = fault
    assert attempt.raised is not None
    return attempt


def convicted(setting: Examined, judge: NoLoss | None = None, **options: Any) -> Evidence:
    canaries = options.get("canaries", setting.examining.usable())
    return (judge or NoLoss(setting.examining)).convict(attempt_of(setting), canaries)


def test_where_a_canary_has_none_either_the_program_is_at_fault_and_its_line_is_named() -> None:
    setting = Examined()
    setting.fault = none
    found = convicted(setting)
    line = f"{__file__}:{none.__code__.co_firstlineno}"
    assert found.blame is Blame.CODE
    assert found.why.startswith("a batch that was healthy has no such loss any more: the program is at fault, at ")
    assert __file__ in found.why
    (event,) = setting.heard
    assert (event.event, event.kind, event.verdict, event.batches) == ("experiment", "canaries", "unknown", 1)
    assert "LossError: loss(batch) must return" in event.why
    assert line not in event.why


def test_where_it_has_one_the_batch_is() -> None:
    setting = Examined()
    attempt = attempt_of(setting)
    before, credit = all_of(setting.parts.subject), setting.budget.credit
    found = NoLoss(setting.examining).convict(attempt, setting.examining.usable())
    assert (found.blame, found.batches) == (Blame.DATA, 1)
    assert setting.heard[0].verdict == "unharmed"
    assert setting.budget.credit < credit
    assert_same(all_of(setting.parts.subject), before)


@pytest.mark.parametrize("why", ["no canaries", "no replay", "raises"])
def test_where_nothing_can_be_tried_so_many_in_a_row_are_the_programs(why: str) -> None:
    setting = Examined(replayed=why != "no replay")
    setting.fault = other if why == "raises" else none
    judge, canaries = NoLoss(setting.examining), () if why == "no canaries" else setting.examining.usable()
    found = [convicted(setting, judge, canaries=canaries) for _ in range(IN_A_ROW)]
    assert [each.blame for each in found] == [Blame.DATA] * (IN_A_ROW - 1) + [Blame.CODE]
    assert found[-1].why.startswith("3 updates in a row had no such loss: the program is at fault, at ")
    setting.number += 1
    assert convicted(setting, judge, canaries=canaries).blame is Blame.DATA
