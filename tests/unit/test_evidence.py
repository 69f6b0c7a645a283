"""Evidence: plain data that goes into a line of the log and comes back."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, asdict

import pytest

from supervisor.events.schema import DecisionEvent
from supervisor.evidence import Blame, Evidence
from supervisor.records import ActionName, Decision

DECISION = Decision(1, 0, ActionName.SKIP_BATCH, 1, "a reason")


def test_one_bad_batch_that_is_not_finite_and_does_not_come_again_is_what_it_says_by_itself() -> None:
    assert asdict(Evidence(Blame.DATA, "why")) == {
        "blame": "data",
        "why": "why",
        "batches": 1,
        "finite": False,
        "repeatable": False,
        "batch": None,
        "gone_back_over": 0,
        "shifted": False,
    }


@pytest.mark.parametrize("blame", Blame)
def test_it_comes_back_from_a_line_of_the_log(blame: Blame) -> None:
    evidence = Evidence(blame, "4 batches", batches=2, finite=True, repeatable=True, batch=7, shifted=True)
    event = DecisionEvent.from_decision(DECISION, step=3, update=5, evidence=evidence)
    assert DecisionEvent.model_validate_json(event.model_dump_json()).evidence == evidence


def test_it_is_a_value() -> None:
    evidence = Evidence(Blame.STATE, "why")
    assert evidence == Evidence(Blame.STATE, "why") != Evidence(Blame.DATA, "why")
    with pytest.raises(FrozenInstanceError):
        evidence.blame = Blame.DATA  # type: ignore[misc]


def test_there_is_one_word_for_each_that_may_be_at_fault() -> None:
    assert [blame.value for blame in Blame] == ["data", "state", "setup", "machine", "code", "unknown"]
