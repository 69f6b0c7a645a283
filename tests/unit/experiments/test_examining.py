"""A look at the canaries: which are tried, what they say, what it costs, and the line of the log."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from support.exact import assert_same
from support.examined import Examined
from support.traces import all_of

from supervisor.experiments.budget import FORWARD
from supervisor.experiments.examining import RELY
from supervisor.experiments.harm import Harm
from supervisor.experiments.probing import ProbeFailed
from supervisor.update import Attempt


def attempt_at(setting: Examined) -> Attempt:
    return setting.parts.measured(setting.batches[0], place=setting.place())


def looked(setting: Examined) -> Harm | None:
    return setting.examining.before_update(attempt_at(setting), setting.examining.usable())


def raises() -> float:
    raise ValueError("no loss")


class TestLooking:
    def test_a_sound_state_is_unharmed_and_the_log_hears_of_it(self) -> None:
        setting = Examined()
        said = looked(setting)
        assert said is not None
        assert not said.harmed
        (event,) = setting.heard
        assert (event.event, event.kind, event.verdict, event.batches) == ("experiment", "canaries", "unharmed", 4)
        assert (event.step, event.update, event.before, event.after) == (96, 96, said.before, said.now)
        assert event.why is None

    def test_a_damaged_one_is_harmed(self) -> None:
        setting = Examined()
        setting.damage()
        said = looked(setting)
        assert said is not None
        assert (said.harmed, said.severe) == (True, True)
        assert setting.heard[0].verdict == "harmed"

    def test_after_a_trial_it_is_called_a_trial(self) -> None:
        setting = Examined()
        said = setting.examining.after_trial(attempt_at(setting), setting.examining.usable())
        assert said is not None
        assert setting.heard[0].kind == "trial"

    def test_it_leaves_no_trace(self) -> None:
        setting = Examined()
        attempt = attempt_at(setting)
        before = all_of(setting.parts.subject)
        setting.examining.before_update(attempt, setting.examining.usable())
        assert_same(all_of(setting.parts.subject), before)

    def test_canaries_whose_rows_are_left_out_are_not_tried(self) -> None:
        setting = Examined()
        setting.data.quarantined = frozenset({93, 94})
        looked(setting)
        assert setting.heard[0].batches == 2

    def test_where_they_raise_the_log_says_why(self) -> None:
        setting = Examined()
        attempt = attempt_at(setting)
        setting.fault = raises
        with pytest.raises(ProbeFailed, match="a batch that was healthy raises ValueError: no loss"):
            setting.examining.before_update(attempt, setting.examining.usable())
        assert setting.examining.after_trial(attempt, setting.examining.usable()) is None
        for event in setting.heard:
            assert (event.verdict, event.before, event.after) == ("unknown", None, None)
            assert "no loss" in event.why

    @pytest.mark.parametrize(
        "changes",
        [{"warm": 0}, {"replayed": False}, {"experiments": None}],
        ids=["no canary", "no replay", "no experiments"],
    )
    def test_where_nothing_can_be_tried_nothing_is_said(self, changes: dict[str, Any]) -> None:
        setting = Examined(**changes)
        assert looked(setting) is None
        assert setting.heard == []

    def test_how_long_it_took_is_on_record(self) -> None:
        setting = Examined()

        def slow() -> float:
            setting.clock.advance(0.5)
            return 1.0

        attempt = attempt_at(setting)
        setting.fault = slow
        setting.examining.before_update(attempt, setting.examining.usable())
        # The first time each of the four is tried twice.
        assert setting.heard[0].seconds == 4.0


class TestRelying:
    def test_one_look_serves_for_three_batches_in_a_row(self) -> None:
        setting = Examined()
        assert RELY == 3
        for looks in (1, 1, 1, 2, 2, 2, 3):
            assert looked(setting) is not None
            assert len(setting.heard) == looks

    def test_until_the_state_changes(self) -> None:
        setting = Examined()
        assert looked(setting) is not None
        setting.damage()
        setting.examining.state_changed()
        said = looked(setting)
        assert said is not None
        assert said.harmed
        assert len(setting.heard) == 2


class TestCost:
    def test_a_forward_pass_counts_a_third_of_an_update(self) -> None:
        setting = Examined()
        for passes in (8, 4):
            credit = setting.budget.credit
            setting.examining.after_trial(attempt_at(setting), setting.examining.usable())
            assert credit - setting.budget.credit == pytest.approx(FORWARD * passes)

    def test_where_batches_accumulate_a_batch_is_a_part_of_one(self) -> None:
        setting = Examined()
        attempt = setting.parts.measured(*setting.batches[:2], place=setting.place())
        credit = setting.budget.credit
        setting.examining.after_trial(attempt, setting.examining.usable())
        assert credit - setting.budget.credit == pytest.approx(FORWARD * 8 / 2)

    def test_one_that_failed_has_cost_too(self) -> None:
        setting = Examined()
        attempt, credit = attempt_at(setting), setting.budget.credit
        setting.fault = raises
        setting.examining.after_trial(attempt, setting.examining.usable())
        assert setting.budget.credit < credit


class TestPossible:
    def test_it_is_where_a_loss_may_be_called_again(self) -> None:
        assert Examined(warm=0).examining.possible
        assert not Examined(warm=0, replayed=False).examining.possible

    def test_and_not_once_it_gave_another_loss_for_the_same_batch(self) -> None:
        setting = Examined()
        attempt, drift = attempt_at(setting), iter(range(1, 100))
        setting.fault = lambda: float(next(drift))
        assert setting.examining.after_trial(attempt, setting.examining.usable()) is None
        assert not setting.examining.possible
        warning, event = setting.heard
        assert event.why == "the loss of a batch is another one each time"
        assert warning.message.startswith(f"{event.why}: no experiment is made in this run")
        # It is said once.
        assert setting.examining.after_trial(attempt, setting.examining.usable()) is None
        assert [each.event for each in setting.heard].count("warning") == 1


class TestCheckpoint:
    def test_what_was_spent_and_what_is_known_come_back(self) -> None:
        setting, other = Examined(), Examined()
        setting.examining.budget.alarmed()
        setting.examining.slightly_harmed = 2
        looked(setting)
        other.examining.budget.share = 0.5
        other.examining.load_state_dict(setting.examining.state_dict())
        assert other.examining.budget.credit == setting.examining.budget.credit < 8
        assert other.examining.budget.wary == setting.examining.budget.wary > 0
        assert other.examining.budget.share == 0.5
        assert other.examining.slightly_harmed == 2
        # What is known of the present state is relied on, as often as it would have been.
        for _ in range(RELY - 1):
            assert looked(other) is not None
        assert len(other.heard) == 0
        looked(other)
        assert len(other.heard) == 1

    def test_a_loss_that_does_not_repeat_is_not_tried_again(self) -> None:
        setting, other = Examined(), Examined()
        setting.fault = itertools.count(1.0).__next__
        with pytest.raises(ProbeFailed):
            looked(setting)
        other.examining.load_state_dict(setting.examining.state_dict())
        assert not other.examining.possible
