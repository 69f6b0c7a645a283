"""Parts that add up."""

from __future__ import annotations

import pytest

from supervisor.events.time_account import TimeAccount


def test_the_parts_add_up_and_the_pauses_are_beside_them() -> None:
    parts = {"start_up": 3, "training": 6, "wasted": 1, "recovery": 0.5, "checkpoints": 0.25, "down": 1, "other": 0.25}
    account = TimeAccount(**parts, paused=99)
    assert account.parts == parts
    assert sum(account.parts.values()) == account.seconds == 12.0
    assert account.goodput == pytest.approx(0.5)
    assert TimeAccount.model_validate_json(account.model_dump_json()) == account


def test_before_anything_was_trained_there_is_no_goodput() -> None:
    assert TimeAccount().goodput is None
    assert TimeAccount(start_up=3).goodput is None
