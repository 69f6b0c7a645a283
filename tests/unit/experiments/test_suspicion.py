"""What a suspicion is called, how strong it is, and whether a loss explains a gradient."""

from __future__ import annotations

import math
from typing import Any

import pytest
from support.parts import attempt_of, policy_of

from supervisor.evidence import Blame
from supervisor.experiments.harm import Harm
from supervisor.experiments.suspicion import as_finding, bad_batch, damaged, is_explained, is_explained_by, is_far_off
from supervisor.records import Signal, SignalName
from supervisor.signals import Detectors
from supervisor.training.data_cursor import DataCursor
from supervisor.training.data_position import DataPosition


def odd(**details: Any) -> Signal:
    return Signal(SignalName.ODD_UPDATE, details)


class TestNames:
    def test_an_odd_update_is_called_by_what_is_odd_about_it(self) -> None:
        loss, gradient = odd(loss=3.0, median=1.0), odd(grad_norm=3.0, median=1.0)
        assert as_finding([loss, gradient]) == Signal(SignalName.LOSS_SPIKE, loss.details)
        assert as_finding([gradient, loss]) == Signal(SignalName.GRADIENT_SPIKE, gradient.details)

    def test_another_finding_keeps_its_name(self) -> None:
        found = Signal(SignalName.DIVERGENCE, {"loss": 2.0})
        assert as_finding([found, odd(loss=3.0)]) is found


class TestStrength:
    @pytest.mark.parametrize(
        ("details", "far"),
        [
            ({"loss": 2.0, "median": 1.0, "score": 7.9}, False),
            ({"loss": 2.0, "median": 1.0, "score": 8.1}, True),
            ({"loss": 9.9, "median": 1.0, "score": 4.0}, False),
            ({"loss": 10.1, "median": 1.0, "score": 4.0}, True),
            ({"grad_norm": 10.1, "median": 1.0, "score": 4.0}, True),
            ({"grad_norm": 9.9, "median": 1.0, "score": 4.0}, False),
            ({"loss": 5.0, "median": -1.0, "score": 4.0}, False),
        ],
    )
    def test_far_off_is_a_high_score_or_many_times_the_usual(self, details: dict[str, float], far: bool) -> None:
        assert is_far_off(odd(**details)) is far

    @pytest.mark.parametrize("details", [{}, {"loss": 2.0, "median": 1.0}, {"loss": 2.0, "score": 4.0}])
    def test_one_without_numbers_may_be_owed_for(self, details: dict[str, float]) -> None:
        assert is_far_off(odd(**details))


class TestExplained:
    """A run whose losses began at 8 and are 0.1 now."""

    def detectors(self, down_to: float = 0.1) -> Detectors:
        detectors = Detectors(policy_of(experiments={}, detect={"spike": {}}))
        for number in range(160):
            wobble = 1 + 0.01 * math.sin(number)
            loss = 8.0 if number < 8 else down_to * wobble
            detectors.accept(attempt_of(number, loss=loss, grad_norm=wobble).seen)
        return detectors

    @pytest.mark.parametrize(("loss", "explained"), [(0.1, False), (1.0, True), (23.9, True), (24.1, False)])
    def test_a_loss_that_is_odd_and_no_worse_than_three_times_the_first_explains_a_gradient(
        self, loss: float, explained: bool
    ) -> None:
        assert is_explained(attempt_of(loss=loss, grad_norm=1e6).seen, self.detectors()) is explained

    def test_losses_below_zero_explain_nothing(self) -> None:
        assert not is_explained(attempt_of(loss=4.0, grad_norm=1e6).seen, self.detectors(down_to=-0.1))

    def test_nothing_is_explained_while_nothing_is_known(self) -> None:
        detectors = Detectors(policy_of(experiments={}, detect={"spike": {}}))
        assert not is_explained(attempt_of(loss=4.0, grad_norm=1e6).seen, detectors)


class TestOfTheState:
    """Losses of about 1; canaries that had 1 have more now."""

    def detectors(self, level: float = 1.0) -> Detectors:
        detectors = Detectors(policy_of(experiments={}, detect={"spike": {}}))
        for number in range(160):
            loss = 8.0 if number < 8 else level + 0.01 * math.sin(number)
            detectors.accept(attempt_of(number, loss=loss, grad_norm=1.0).seen)
        return detectors

    @pytest.mark.parametrize(("loss", "explained"), [(2.0, True), (2.3, True), (2.6, False), (9.0, False)])
    def test_a_loss_is_explained_where_those_of_known_batches_rose_as_much(self, loss: float, explained: bool) -> None:
        said = Harm(False, 1.0, 2.0, canaries=4, risen=True)
        assert is_explained_by(said, attempt_of(loss=loss, grad_norm=1.0).seen, self.detectors()) is explained

    @pytest.mark.parametrize(("loss", "explained"), [(0.0, True), (3.0, False)])
    def test_below_zero_by_the_difference(self, loss: float, explained: bool) -> None:
        said = Harm(False, -1.0, 0.0, canaries=4, risen=True)
        detectors = self.detectors(level=-1.0)
        assert is_explained_by(said, attempt_of(loss=loss, grad_norm=1.0).seen, detectors) is explained

    def test_canaries_that_are_as_they_were_explain_nothing(self) -> None:
        said = Harm(False, 1.0, 1.01, canaries=4)
        assert not is_explained_by(said, attempt_of(loss=1.0, grad_norm=1.0).seen, self.detectors())

    def test_nor_is_anything_explained_while_nothing_is_known(self) -> None:
        said = Harm(False, 1.0, 2.0, canaries=4, risen=True)
        detectors = Detectors(policy_of(experiments={}, detect={"spike": {}}))
        assert not is_explained_by(said, attempt_of(loss=1.0, grad_norm=1.0).seen, detectors)


class TestEvidence:
    def test_a_batch_of_the_guards_own_data_has_its_number_and_may_come_again(self) -> None:
        data = DataCursor(["first", "second", "third"])
        for _ in range(2):
            data.next()
        attempt = attempt_of()
        attempt.drawn = True
        evidence = bad_batch(attempt, data, "why")
        assert (evidence.blame, evidence.why, evidence.batches) == (Blame.DATA, "why", 1)
        assert (evidence.repeatable, evidence.batch) == (True, data.last_number)
        assert data.last_number == 1

    def test_one_of_the_callers_own_has_none(self) -> None:
        evidence = bad_batch(attempt_of(), DataPosition(), "why")
        assert (evidence.repeatable, evidence.batch) == (False, None)

    @pytest.mark.parametrize(("at_fault", "counted"), [((), 1), ((1,), 1), ((0, 2), 2)])
    def test_where_batches_accumulate_those_at_fault_count(self, at_fault: tuple[int, ...], counted: int) -> None:
        attempt = attempt_of(0, None, "one", "two", "three")
        attempt.at_fault = at_fault
        assert bad_batch(attempt, DataPosition(), "why").batches == counted

    def test_a_damaged_state_says_when_and_with_which_numbers(self) -> None:
        evidence = damaged(Harm(True, 1.0, 9.0), " before it", finite=True)
        assert (evidence.blame, evidence.finite) == (Blame.STATE, True)
        assert evidence.why == "batches that were healthy are not any more before it: their median loss is 9, and was 1"
        assert not damaged(Harm(True, 1.0, math.nan), "", finite=False).finite
