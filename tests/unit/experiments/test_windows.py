"""The windows and the canaries of one state: taken down with it, put back with it, found in its checkpoint."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from support.exact import assert_same
from support.parts import BATCHES, attempt_of, through_a_file

from supervisor.experiments import RecentCanaries, Windows
from supervisor.policy import RecoveryPolicy
from supervisor.records import Observation
from supervisor.signals import Detectors
from supervisor.training.rng import capture_rng
from supervisor.training.state import VolatileState

POLICY = RecoveryPolicy()
OK = Observation(step=0, update=0, loss=1.0, grad_norm=1.0)


def healthy(windows: Windows, updates: range, loss: float) -> None:
    before = VolatileState({}, {}, {}, capture_rng(), ())
    for update in updates:
        windows.detectors.accept(replace(OK, step=update, update=update, loss=loss, lr=0.1))
        windows.canaries.healthy(attempt_of(update, update, BATCHES[0], before=before, loss=loss))


@pytest.fixture
def windows() -> Windows:
    made = Windows(Detectors(POLICY), RecentCanaries(4))
    healthy(made, range(40), 8.0)
    return made


def updates(windows: Windows) -> list[int]:
    return [canary.update for canary in windows.canaries.usable()]


def test_they_go_back_with_a_state(windows: Windows) -> None:
    """An ordinary early loss is no spike against the windows of a later, better model."""
    before, memory = windows.detectors.state_dict(), windows.remember()
    healthy(windows, range(40, 240), 0.01)
    early = replace(OK, loss=8.0)
    assert windows.detectors.suspect(early)
    windows.recall(memory)
    assert windows.detectors.state_dict() == before
    assert not windows.detectors.suspect(early)
    assert not windows.detectors.inspect(early)
    assert updates(windows) == [36, 37, 38, 39]


def test_what_is_remembered_does_not_follow(windows: Windows) -> None:
    memory = windows.remember()
    before = windows.detectors.state_dict()
    healthy(windows, range(40, 80), 0.5)
    assert memory.detectors == before
    assert [canary.update for canary in memory.canaries] == [36, 37, 38, 39]


def test_the_same_memory_can_be_recalled_again(windows: Windows) -> None:
    memory, before = windows.remember(), windows.detectors.state_dict()
    for _ in range(2):
        windows.recall(memory)
        healthy(windows, range(40, 80), 0.5)
    windows.recall(memory)
    assert windows.detectors.state_dict() == before


def tree_of(windows: Windows) -> dict[str, Any]:
    return {"panel": windows.detectors.state_dict(), "canaries": windows.canaries.state_dict()}


def test_a_checkpoint_gives_them_back(windows: Windows) -> None:
    tree = through_a_file(tree_of(windows))
    expected, batches = windows.detectors.state_dict(), list(windows.canaries.usable()[0].batches)
    healthy(windows, range(40, 80), 0.5)
    windows.recall(windows.of_checkpoint(tree))
    assert windows.detectors.state_dict() == expected
    assert updates(windows) == [36, 37, 38, 39]
    assert_same(list(windows.canaries.usable()[0].batches), batches)


def test_one_of_a_version_without_canaries_gives_none_back(windows: Windows) -> None:
    tree = tree_of(windows)
    del tree["canaries"]
    memory = windows.of_checkpoint(tree)
    assert memory.canaries == ()
    windows.recall(memory)
    assert updates(windows) == []


def test_one_without_windows_is_refused(windows: Windows) -> None:
    with pytest.raises(KeyError):
        windows.of_checkpoint({"canaries": []})


def test_reading_a_checkpoint_changes_nothing_yet(windows: Windows) -> None:
    tree = tree_of(Windows(Detectors(POLICY), RecentCanaries(4)))
    before = windows.detectors.state_dict()
    windows.of_checkpoint(tree)
    assert windows.detectors.state_dict() == before
    assert not math.isinf(before["odd_loss"]["best"])
    assert len(updates(windows)) == 4
