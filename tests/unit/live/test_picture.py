"""What is shown at a moment, as plain values."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from supervisor.live.picture import Picture, Signs
from supervisor.report.run_status import RunState


def test_signs_that_nothing_is_known_of_are_those_of_a_run_that_goes_on() -> None:
    signs = Signs(now=datetime(2026, 1, 1, tzinfo=UTC))
    assert (signs.state, signs.pulse, signs.speed, signs.over) == (RunState.RUNNING, None, None, False)


def test_neither_changes_once_it_is_made() -> None:
    signs = Signs(now=datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(dataclasses.FrozenInstanceError):
        signs.over = True  # type: ignore[misc]
    assert Picture.__dataclass_params__.frozen  # type: ignore[attr-defined]
