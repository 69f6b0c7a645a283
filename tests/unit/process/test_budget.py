"""Restarts within a sliding window, counted outside the checkpoints; time is an argument."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.policy import RestartSettings
from supervisor.process.budget import RestartBudget

SETTINGS = RestartSettings(max_restarts=3, window_seconds=100.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "restarts.json"


def test_one_failure_more_than_restarts_are_allowed(path: Path) -> None:
    budget = RestartBudget(path, SETTINGS)
    for number in range(3):
        budget.fail(1000.0 + number)
        assert not budget.spent(1000.0 + number)
    budget.fail(1003.0)
    assert budget.spent(1003.0)
    assert budget.failures(1003.0) == 4


def test_no_restart_at_all(path: Path) -> None:
    budget = RestartBudget(path, RestartSettings(max_restarts=0))
    assert not budget.spent(0.0)
    budget.fail(0.0)
    assert budget.spent(0.0)


def test_failures_further_apart_than_the_window_do_not_add_up(path: Path) -> None:
    budget = RestartBudget(path, SETTINGS)
    for number in range(50):
        at = 1000.0 + 101.0 * number
        budget.fail(at)
        assert budget.failures(at) == 1
        assert not budget.spent(at)


def test_the_window_slides(path: Path) -> None:
    budget = RestartBudget(path, SETTINGS)
    for at in (0.0, 30.0, 60.0, 90.0):
        budget.fail(at)
    assert budget.spent(99.0)
    assert not budget.spent(100.0)
    assert budget.failures(131.0) == 2


def test_it_is_kept_for_the_next_supervisor(path: Path) -> None:
    for number in range(4):
        RestartBudget(path, SETTINGS).fail(float(number))
    assert RestartBudget(path, SETTINGS).spent(4.0)
    assert not RestartBudget(path, SETTINGS).spent(200.0)


def test_a_clock_that_was_set_back_does_not_make_failures_last_for_ever(path: Path) -> None:
    budget = RestartBudget(path, SETTINGS)
    for _ in range(4):
        budget.fail(10_000.0)
    assert not budget.spent(500.0)


@pytest.mark.parametrize("content", ["", "{", '{"failures": "none"}', '{"failures": [NaN]}', "[]", "\0\0"])
def test_a_torn_record_counts_for_nothing(path: Path, content: str) -> None:
    path.write_text(content)
    budget = RestartBudget(path, SETTINGS)
    assert budget.failures(0.0) == 0
    budget.fail(1.0)
    assert RestartBudget(path, SETTINGS).failures(1.0) == 1


def test_where_nothing_can_be_written_it_counts_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    budget = RestartBudget(tmp_path / "file" / "restarts.json", SETTINGS)
    for number in range(4):
        budget.fail(float(number))
    assert budget.spent(4.0)
