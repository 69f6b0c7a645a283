"""The registry of what a checkpoint carries beside the restore point."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.states.checkpoint_parts import CheckpointParts


class Part:
    def __init__(self, value: Any) -> None:
        self.value = value

    def state_dict(self) -> Any:
        return self.value

    def load_state_dict(self, state: Any) -> None:
        self.value = state


def test_each_part_has_its_own_under_its_name() -> None:
    one, other = Part({"a": 1}), Part([2])
    parts = CheckpointParts(panel=one, quarantine=other)
    tree = parts.tree()
    assert tree == {"panel": {"a": 1}, "quarantine": [2]}
    one.value = other.value = None
    parts.load({**tree, "of another version": 3})
    assert (one.value, other.value) == ({"a": 1}, [2])


def test_a_part_that_is_missing_is_told() -> None:
    with pytest.raises(KeyError, match="quarantine"):
        CheckpointParts(panel=Part(1), quarantine=Part(2)).load({"panel": 1})
