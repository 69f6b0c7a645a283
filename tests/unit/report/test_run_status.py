"""The record of where a run stands."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from supervisor.report.run_status import RunState, Status


def test_the_states_of_a_run() -> None:
    assert [*RunState] == ["running", "stalled", "dead", "finished", "halted", "interrupted", "unsaved", "unknown"]


def test_what_nothing_tells_of_is_unknown_and_no_field_is_misspelt() -> None:
    assert (Status().state, Status().step, Status().account) == (RunState.UNKNOWN, None, None)
    with pytest.raises(ValidationError, match="stepp"):
        Status(stepp=3)  # type: ignore[call-arg]
