from __future__ import annotations

from typing import Any

import pytest

from supervisor.process.job_difference import difference


def unknown(key: str, value: object) -> object:
    return value


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({"width": 8}, {"width": 4}, "config.width (8, now 4)"),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, "config.a.c (2, now 3)"),
        ({"a": {"b": 1}}, {"a": 1}, "config.a ({'b': 1}, now 1)"),
        ({}, {"at": None}, "config.at (not set, now None)"),
        ({"at": 1}, {}, "config.at (1, now not set)"),
        ({3: 1}, {3: 2}, "config.3 (1, now 2)"),
        (["x"], ["y"], "config (['x'], now ['y'])"),
    ],
)
def test_the_first_value_that_differs_is_named(old: Any, new: Any, told: str) -> None:
    assert difference("config", old, new, unknown) == told


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({"seed": 1}, {"seed": 1, "cell": "lru"}, "config.cell (gru, the default, now lru)"),
        ({"cell": "lru"}, {}, "config.cell (lru, now gru, the default)"),
        ({"seed": 1}, {"seed": 1, "cell": "gru"}, "config.cell (not set, now gru)"),
        ({}, {"unknown": 1}, "config.unknown (not set, now 1)"),
        ({"deep": {"a": 1}}, {"deep": {"a": 1, "b": 3}}, "config.deep.b (2, the default, now 3)"),
    ],
)
def test_what_is_not_set_is_told_by_what_holds_instead(old: Any, new: Any, told: str) -> None:
    def in_whole(key: str, value: Any) -> Any:
        assert key == "config"
        return {"cell": "gru", **value, "deep": {"b": 2, **value.get("deep", {})}}

    assert difference("config", old, new, in_whole) == told


def test_what_holds_is_only_looked_for_where_something_is_not_set() -> None:
    def never(key: str, value: object) -> object:
        raise AssertionError(key)

    assert difference("config", {"a": 1}, {"a": 2}, never) == "config.a (1, now 2)"
