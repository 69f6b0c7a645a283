"""How YAML is read: the 1.2 rules for plain words, and files that are no text, too large or not there."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest

from supervisor.config.yaml_source import MAX_BYTES, parse_yaml, read_yaml
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


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_bytes(b"\xef\xbb\xbfx: 1\n")
    assert read_yaml(str(file), "job").value == {"x": 1}


@pytest.mark.parametrize(
    ("data", "line"), [(b"x: 1\n# caf\xe9\n", 2), ("x: 1\n".encode("utf-16"), 1)], ids=["latin-1", "utf-16"]
)
def test_other_encodings_are_refused(data: bytes, line: int, tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_yaml(str(file), "job")
    assert caught.value.problems == (f"{file}:{line}: is not UTF-8 text: save the file as UTF-8",)


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    Path("configs/recovery.yaml").touch()
    with pytest.raises(InputError) as caught:
        read_yaml("configs/recvery.yaml", "policy")
    assert str(caught.value) == "configs/recvery.yaml: no such file: write configs/recovery.yaml"


def test_a_missing_folder_is_no_crash() -> None:
    with pytest.raises(InputError, match=r"nowhere/at/all\.yaml: no such file: write the path of a policy file"):
        read_yaml("nowhere/at/all.yaml", "policy")


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 5000])
def test_names_that_are_no_path(name: str) -> None:
    with pytest.raises(InputError):
        read_yaml(name, "policy")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_yaml(str(tmp_path), "job")
    assert str(caught.value) == f"{tmp_path}: is a folder: write the path of a job file in it"


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_text("#" * (MAX_BYTES + 1))
    with pytest.raises(InputError, match="is larger than 256 KiB"):
        read_yaml(str(file), "job")
