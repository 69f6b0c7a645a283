"""What is named where the settings of a run differ from those it was started with."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.policy import load_policy
from supervisor.policy.differences import differences


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1, "b": 2}, {"a": 3, "b": 4}, ["a (1, now 3)", "b (2, now 4)"]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, ["a.c (2, now 3)"]),
        ({"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 1}, {"b": 5}]}, ["a.1.b (2, now 5)"]),
        ({"a": [1, 2]}, {"a": [1]}, ["a (2 items, now 1 items)"]),
        ({"a": None}, {"a": {"b": 1}}, ["a (null, now {'b': 1})"]),
        ({"a": 1}, {"b": 1}, ["a (1, now not set)", "b (not set, now 1)"]),
        ({"a": "x\x1b[31m"}, {"a": "y"}, ["a (x\\x1b[31m, now y)"]),
        ({"a": "x" * 100}, {"a": 1}, [f"a ({'x' * 59}…, now 1)"]),
        ({"a": [1]}, {"a": (1,)}, []),
    ],
)
def test_each_value_that_differs_is_named_with_both(old: Any, new: Any, named: list[str]) -> None:
    assert differences(old, new) == named


def test_what_another_version_did_not_know_is_left_out_where_that_is_asked_for() -> None:
    assert differences({"a": 1, "old": 1}, {"a": 2, "new": 1}, added=False) == ["a (1, now 2)"]


def test_a_policy() -> None:
    before, now = (load_policy(changes).model_dump(mode="json") for changes in ({}, {"cooldown_steps": 3}))
    assert differences(before, now, "policy") == ["policy.cooldown_steps (20, now 3)"]
