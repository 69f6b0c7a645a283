"""A file of lines: what its last writer or the disk left half is cut off, and nothing else is."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import pytest

from supervisor.events import line_file
from supervisor.events.line_file import LineFile, whole_lines_end


def messages(path: Path) -> list[str]:
    text = path.read_text()
    assert text == "" or text.endswith("\n")
    return [json.loads(line)["message"] for line in text.splitlines()]


def test_lines_are_appended_to_what_is_there_and_the_folder_is_made(tmp_path: Path):
    path = tmp_path / "events" / "rank0.jsonl"
    for _ in range(2):
        file = LineFile(path)
        assert file.path == path
        file.append('{"message":"a"}', durable=True)
        file.close()
        file.append('{"message":"b"}', durable=False)

    assert messages(path) == ["a", "b", "a", "b"]


WHOLE = '{"message":"one"}\n{"message":"two"}\n'


@pytest.mark.parametrize(
    "tail",
    [
        "",
        "{",
        '{"message":"thr',
        '{"message":"three"}',
        '{"message":"thr\n',
        "\0" * 70_000,
        '{"message":"' + "x" * 200_000,
        "\0" * 200_000 + "\n",
    ],
    ids=["none", "one_byte", "half", "no_newline", "half_and_newline", "zeros", "long", "zeros_and_newline"],
)
def test_a_torn_tail_is_cut_when_the_file_is_opened(tmp_path: Path, tail: str):
    path = tmp_path / "rank0.jsonl"
    path.write_text(WHOLE + tail)

    file = LineFile(path)
    file.open()
    assert path.read_text() == WHOLE

    file.append('{"message":"next"}', durable=False)
    assert messages(path) == ["one", "two", "next"]


@pytest.mark.parametrize("tail", ["{", '{"message":"thr', '{"message":"thr\n'])
def test_a_file_that_is_all_torn_starts_again(tmp_path: Path, tail: str):
    path = tmp_path / "rank0.jsonl"
    path.write_text(tail)

    LineFile(path).append('{"message":"next"}', durable=False)

    assert messages(path) == ["next"]


def test_part_of_a_line_that_could_not_be_taken_back_at_once_is_cut_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "rank0.jsonl"
    lines = LineFile(path)
    write, cut = os.write, os.ftruncate

    def half(descriptor: int, data: bytes) -> int:
        write(descriptor, bytes(data[:10]))
        raise OSError(5, "Input/output error")

    def no(descriptor: int, length: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(line_file.os, "write", half)
        broken.setattr(line_file.os, "ftruncate", no)
        with pytest.raises(OSError, match="Input/output error"):
            lines.append('{"message":"lost"}', durable=False)
        assert path.stat().st_size == 10
    assert (os.write, os.ftruncate) == (write, cut)
    lines.append('{"message":"next"}', durable=False)

    assert messages(path) == ["next"]


def test_a_line_that_the_system_refuses_half_way_leaves_nothing(tmp_path: Path):
    path = tmp_path / "rank0.jsonl"
    file = LineFile(path)
    file.append('{"message":"one"}', durable=False)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            file.append('{"message":"two"}', durable=False)
        assert messages(path) == ["one"]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    file.append('{"message":"three"}', durable=False)

    assert messages(path) == ["one", "three"]


@pytest.mark.parametrize(
    ("content", "end"), [(b"", 0), (b"{", 0), (b"{}\n", 3), (b"{}\n{", 3), (b"{}\n{\n", 3), (b"\n", 0), (b"{}\n1\n", 5)]
)
def test_where_the_last_whole_line_ends(tmp_path: Path, content: bytes, end: int):
    path = tmp_path / "lines"
    path.write_bytes(content)
    with path.open("rb") as file:
        assert whole_lines_end(file.fileno(), len(content)) == end
