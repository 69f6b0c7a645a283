"""From YAML to plain values by the 1.2 rules, the line of each, and back to YAML that a person can read."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.config.yaml_source import parse_yaml
from supervisor.config.yaml_values import Yaml12Loader, document_of, lines_of, plain_yaml
from supervisor.errors import InputError


def value_of(text: str) -> Any:
    document = parse_yaml(f"x: {text}\n", "file")
    assert not document.problems
    return document.value["x"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1e-4", 1e-4),
        ("5e3", 5000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-1E+2", -100.0),
        ("+3.0", 3.0),
        ("7", 7),
        ("-0", 0),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("!!float 5", 5.0),
        ('!!int "5"', 5),
        ("-.inf", -math.inf),
    ],
)
def test_numbers(text: str, number: float) -> None:
    value = value_of(text)
    assert value == number
    assert type(value) is type(number)


def test_not_a_number() -> None:
    assert math.isnan(value_of(".nan"))


@pytest.mark.parametrize(
    "text",
    [
        "yes",
        "no",
        "on",
        "off",
        "y",
        "1_000",
        "1:30",
        "2026-01-31",
        "1e",
        "e3",
        ".",
        "0b11",
        "nan",
        "inf",
        "tRue",
    ],
)
def test_other_plain_words_are_text(text: str) -> None:
    assert value_of(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("'true'", "true")],
)
def test_booleans_and_null(text: str, value: Any) -> None:
    assert value_of(text) is value or value_of(text) == value


def test_every_value_knows_its_line() -> None:
    document = parse_yaml("a: 1\nb:\n  - c: 2\n  -\n    d: 3\n", "file")
    place = document.origins.place
    assert place(("a",)).text == "file:1"
    assert place(("b", 0, "c")).text == "file:3"
    assert place(("b", 1, "d")).text == "file:5"
    assert place(("b", 1, "not written")).text == "file:5"
    assert place(("not written",)).text == "file:1"


def test_merged_keys_do_not_win_over_written_ones() -> None:
    document = parse_yaml("a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {x: 9, <<: [*a, *b]}\n", "file")
    assert document.value["c"] == {"x": 9, "y": 2, "z": 4}


@pytest.mark.parametrize(
    "text",
    [
        "a0: &a0 [x, x]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(40)),
        "a0: &a0 {}\n" + "".join(f"a{i + 1}: &a{i + 1} {{<<: [*a{i}, *a{i}]}}\n" for i in range(40)),
        "a: &a " + "x" * 50_000 + "\nb: [" + "*a, " * 1000 + "]\n",
    ],
    ids=["lists", "merges", "long text"],
)
def test_aliases_cannot_grow_without_bound(text: str) -> None:
    started = time.process_time()
    document = parse_yaml(text, "file")
    assert time.process_time() - started < 5
    assert any("grows too large" in problem.what for problem in document.problems)


@pytest.mark.parametrize("text", ["[" * 50_000, "- " * 5000, "x: " + "[" * 60 + "]" * 60, "a: &a\n  <<: *a\n"])
def test_nesting_is_bounded(text: str) -> None:
    try:
        problems = [str(problem) for problem in parse_yaml(text, "file").problems]
    except InputError as error:
        problems = list(error.problems)
    assert any("is nested too deeply" in each or "holds itself" in each for each in problems)


def test_numbers_with_too_many_digits_are_refused() -> None:
    (problem,) = parse_yaml("a: 1\nx: " + "9" * 5000, "file").problems
    assert str(problem).startswith("file:2: x: `9999")
    assert problem.fix == "write fewer digits"


def test_half_a_character_is_refused() -> None:
    (problem,) = parse_yaml('x: "\\ud800"', "file").problems
    assert str(problem).startswith("file:1: x: holds half of a character")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_counted_as_an_editor_counts_them(end: str) -> None:
    text = f"a: 1{end}b: \u2028\x85{end}{end}c: 2"
    line_of = lines_of(text)
    assert [line_of(text.index(word)) for word in ("a", "b", "\u2028", "\x85", "c")] == [1, 2, 2, 2, 4]


def test_a_source_without_lines_has_none() -> None:
    node = yaml.compose("x: [1]", Loader=Yaml12Loader)
    document = document_of(node, "--set x=[1]", None)
    assert document.value == {"x": [1]}
    assert document.origins.place(("x", 0)).text == "--set x=[1]"


LINES: dict[str, tuple[str, dict[tuple[Any, ...], int]]] = {
    "a value on the next line": ("a:\n\n  # why\n  5\nb: 1\n", {("a",): 1, ("b",): 5}),
    "text of several lines": ("a: >\n  b: 1\n  c\nd: 'e\n\n  f'\ng: 1\n", {("a",): 1, ("d",): 4, ("g",): 7}),
    "braces of several lines": ("{a: 1,\n b:\n {c:\n  2,\n  d: 3}}\n", {("b",): 2, ("b", "c"): 3, ("b", "d"): 5}),
    "a dash alone": ("a:\n-\n  b: 1\n- c\n-\n", {("a",): 1, ("a", 0, "b"): 3, ("a", 1): 4, ("a", 2): 5}),
    "a key with a question mark": ("? a\n:\n  b: 1\n", {("a",): 1, ("a", "b"): 3}),
    "numbers as keys": ("a:\n  1: x\n  '1': y\n", {("a", 1): 2, ("a", "1"): 3}),
    "an alias as an item": (
        "a: &x\n  b: 1\nc:\n  - d\n  - *x\n",
        {("a", "b"): 2, ("c", 1): 5, ("c", 1, "b"): 2, ("c", 1, "not written"): 5},
    ),
    "an alias as a value": ("a: &x 1\nb:\n  *x\n", {("b",): 2}),
    "a key written beside a merge": (
        "a: &x {b: {c: 1, d: 2}, e: 3}\nf:\n  b:\n    c: 4\n  <<: *x\n",
        {("f", "b"): 3, ("f", "b", "c"): 4, ("f", "b", "d"): 3, ("f", "e"): 1},
    ),
    "a list written beside a merge": (
        "a: &x\n  b:\n    - 1\n    - 2\nf:\n  <<: *x\n  b:\n    - 3\n",
        {("f", "b"): 7, ("f", "b", 0): 8, ("f", "b", 1): 7},
    ),
    "the first of two merges": ("a: &x {b: 1}\nc: &y {b: 2}\nd: {<<: [*x, *y]}\n", {("d", "b"): 1}),
}


@pytest.mark.parametrize("name", LINES)
def test_a_value_has_the_line_of_its_key(name: str) -> None:
    text, lines = LINES[name]
    document = parse_yaml(text, "file")
    assert not document.problems
    assert {path: document.origins.place(path).text for path in lines} == {
        path: f"file:{line}" for path, line in lines.items()
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &x 5\n\nb:\n  <<: *x\n", "file:4: b.<<: does not name a mapping"),
        ("a: &x {}\nb:\n  <<: [*x,\n    5]\n", "file:4: b.<<: does not name a mapping"),
        ("a: &x\n  - 1\n  - *x\n", "file:3: a.1: holds itself through an alias"),
        ("a: &x\n  b:\n    <<: *x\n", "file:2: a.b: holds itself through an alias"),
        ("a: 1\nb: 2\n\na: 3\n", "file:4: a: is written twice (first in line 1)"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n  b: 2\n  b: 3\n", "file:5: c.b: is written twice (first in line 4)"),
        ("a:\n  ? [b]\n  : 1\n", "file:2: a: `a list or mapping` cannot be a key"),
        ("a:\n\n  true: 1\n", "file:3: a: `true` cannot be a key"),
        ("a: 1\nb:\n  !!set {c}\n", "file:2: b: the tag `!!set` is not allowed"),
        ("a:\n  - 1\n  - !!int x\n", "file:3: a.1: `x` cannot be read as !!int"),
    ],
)
def test_a_mistake_is_reported_on_its_own_line(text: str, problem: str) -> None:
    assert [str(each)[: len(problem)] for each in parse_yaml(text, "file").problems] == [problem]


def test_a_part_is_a_document_of_its_own() -> None:
    part = parse_yaml("a: 1\nb:\n  c: !x 2\n  d: 3\n", "file").below("b")
    assert part.value == {"c": None, "d": 3}
    assert part.unreadable == {("c",)}
    assert part.origins.place(("d",)).text == "file:4"
    assert part.origins.place(()).text == "file:2"


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
