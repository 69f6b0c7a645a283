"""What the guard tells its caller."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from supervisor.guard.outcome import PROCEED, StepOutcome, Verdict


def test_an_update_that_passes_has_no_outcome_yet() -> None:
    assert Verdict(apply=True, outcome=None, halt=False, reason=None) == PROCEED


def test_a_healthy_outcome_has_no_signals_and_no_action() -> None:
    outcome = StepOutcome(3, 1.0, 2.0, True)
    assert (outcome.signals, outcome.action) == ((), None)
    verdict = Verdict(apply=False, outcome=outcome)
    assert (verdict.halt, verdict.reason) == (False, None)


@pytest.mark.parametrize("told", [PROCEED, StepOutcome(3, 1.0, 2.0, True)])
def test_nobody_changes_what_was_told(told: Any) -> None:
    for field in fields(told):
        with pytest.raises(FrozenInstanceError):
            setattr(told, field.name, None)
