"""Files that are no YAML, no text, too large or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.config.yaml_source import MAX_BYTES, Document, parse_yaml, read_yaml
from supervisor.errors import InputError

SYNTAX = {
    "no colon": ("version: 1\ncooldown_steps\nprobation_steps: 3\n", 2, "has a key without a `:`"),
    "no colon at the end": ("version: 1\ncooldown_steps\n", 2, "has a key without a `:`"),
    "no colon at the start": ("cooldown_steps\nprobation_steps: 3\n", 1, "has a key without a `:`"),
    "no colon after a section": ("detect\n  state_every_steps: 5\n", 1, "has a key without a `:`"),
    "no colon in a section": ("detect:\n  state_every_steps 5\n  spike: null\n", 2, "has a key without a `:`"),
    "no colon in an item": ("ladder:\n  - action halt\n    attempts: 1\n", 2, "has a key without a `:`"),
    "no space after a colon": ("version: 1\nsteps:5\n\n# a comment\nseed: 3\n", 2, "has a key without a `:`"),
    "a quoted key": ("version: 1\n'steps' 5\nseed: 3\n", 2, "has a key without a `:`"),
    "a second colon": ("a: 1\nb: c\n  d: e\n", 3, "has a `:` where none can be"),
    "a line that goes on": ("a: one\n  two\n  three: 3\n", 3, "has a `:` where none can be"),
    "an open quote": ("a: 'b\nc: 'd'\n", 1, "opens a quote that is never closed"),
    "an open quote to the end": ("a: 1\nb: 'c\n\n", 2, "opens a quote that is never closed"),
    "text after a quote": ("a: 1\nb: 'c\n  d' e\n", 3, "is not indented as the lines above"),
    "an anchor twice": ("a: &x 1\nb: &x 2\n", 2, "defines an anchor twice"),
    "a comma forgotten": ("a:\n  - {b: c d: e}\n", 2, "opens a `[` or `{` that does not end well"),
    "a tab": ("a:\n\tb: 1\n", 2, "holds a tab"),
    "after a line separator": ('a: "\u2028\u2029\x85"\nb: c: d\n', 2, "has a `:` where none can be"),
    "after Windows line ends": ("a: 1\r\nb: c: d\r\n", 2, "has a `:` where none can be"),
    "after old Macintosh line ends": ("a: 1\rb: c: d\r", 2, "has a `:` where none can be"),
    "a control character far down": ("a: 1\n" * 2000 + "x: \0\n", 2001, "holds the control character \\x00"),
    "nothing but a bracket": ("\n[", 2, "opens a `[` or `{` that does not end well"),
}


@pytest.mark.parametrize("name", SYNTAX)
def test_a_syntax_error_is_reported_on_the_line_to_change(name: str) -> None:
    text, line, what = SYNTAX[name]
    with pytest.raises(InputError) as caught:
        parse_yaml(text, "file")
    assert str(caught.value).startswith(f"file:{line}: {what}")
    with pytest.raises(InputError) as caught:
        parse_yaml(text, "--set", lines=False)
    assert str(caught.value).startswith(f"--set: {what}")


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


def test_files_of_another_kind_are_not_suggested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in {"b1.yaml": "trainer: x", "c.yaml": "a: 1", "broken.yaml": "[", "empty.yaml": ""}.items():
        Path(name).write_text(text)

    def fits(document: Document) -> bool:
        return isinstance(document.value, dict) and "a" in document.value

    with pytest.raises(InputError) as caught:
        read_yaml("b.yaml", "policy", fits=fits)
    assert str(caught.value) == "b.yaml: no such file: write the path of a policy file (c.yaml)"


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
