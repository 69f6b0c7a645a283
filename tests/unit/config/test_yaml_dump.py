"""Plain values as YAML: they read back to the same, and a person can read them too."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.config.yaml_dump import plain_yaml
from supervisor.config.yaml_source import parse_yaml

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None)
@given(plain)
def test_it_reads_back_to_the_same(value: Any) -> None:
    document = parse_yaml(plain_yaml({"x": value}), "file")
    assert not document.problems
    assert document.value == {"x": value}


def test_keys_keep_their_order_and_inner_collections_their_line() -> None:
    assert plain_yaml({"b": {"y": 1, "x": [1, 2]}, "a": None}) == "b:\n  y: 1\n  x: [1, 2]\na: null\n"


def test_a_value_that_comes_twice_is_written_twice() -> None:
    shared = [1, 2]
    assert plain_yaml({"a": shared, "b": shared}) == "a: [1, 2]\nb: [1, 2]\n"


@pytest.mark.parametrize(
    "text", ["1e-4", "5e3", "010", "0o17", "true", "null", "~", "1_000", ".inf", "", "<<", "=", "a\x85b"]
)
def test_text_that_looks_like_something_else_is_quoted(text: str) -> None:
    assert parse_yaml(plain_yaml({"x": text}), "file").value == {"x": text}
