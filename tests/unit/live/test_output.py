"""What a program writes to its terminal, as lines that are safe to be printed on another one."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.live.output import LONGEST_LINE, OutputLines


def lines(*written: bytes, encoding: str = "utf-8") -> list[str]:
    output = OutputLines(encoding)
    return [line for data in written for line in output.feed(data)] + output.end()


def test_lines_are_cut_wherever_they_were_written() -> None:
    assert lines(b"one\ntw", b"o\nthr", b"ee") == ["one", "two", "three"]
    assert lines(b"\r\nwith returns\r\n") == ["", "with returns"]
    assert lines("漢".encode()[:1], "漢".encode()[1:], b"\n") == ["漢"]
    assert lines(b"bad \xff byte\n") == ["bad \\xff byte"]


@given(
    st.lists(st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=9), max_size=9), st.integers(1, 9)
)
def test_nothing_is_lost_and_nothing_changes_its_place(texts: list[str], size: int) -> None:
    data = "".join(f"{text}\n" for text in texts).encode()
    assert lines(*(data[at : at + size] for at in range(0, len(data), size))) == texts


def test_a_progress_bar_is_its_last_state() -> None:
    output = OutputLines()
    told = []
    for percent in range(5000):
        told += output.feed(f"\r{percent // 50:3}%|{'#' * (percent // 500):10}| {percent}/5000".encode())
        assert output.unfinished.endswith(f"{percent}/5000")
    assert told == []
    assert output.feed(b"\n") == [" 99%|#########| 4999/5000".replace("|#########|", "|######### |")]
    assert output.unfinished == ""


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        (b"abc\rX", "Xbc"),
        (b"50%\r", "50%"),
        (b"abc\r\x1b[KX", "X"),
        (b"abcdef\rxy\x1b[K", "xy"),
        (b"abc\x1b[2K\rX", "X"),
        (b"1/3\b\b\b2/3\b\b\b3/3", "3/3"),
        (b"abc\r\r\r\n", "abc"),
        (b"\x1b[32mabc\x1b[0m\r\x1b[31mX\x1b[0m", "\x1b[31mX\x1b[0m\x1b[0m"),
    ],
)
def test_a_line_is_written_over_as_on_a_terminal(written: bytes, seen: str) -> None:
    assert lines(written) == [seen]


@pytest.mark.parametrize("before", [b"", b"\r"])
def test_a_spinner_is_one_sign_however_it_was_written(before: bytes) -> None:
    output = OutputLines()
    output.feed(before + b"working ")
    told = [line for turn in range(20_000) for sign in (b"|/-\\"[turn % 4 :][:1], b"\b") for line in output.feed(sign)]
    assert told == []
    assert output.feed(b"done\n") == ["working done"]


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        (b"\x1b[2Ja\x1b[1;1Hb", "ab"),
        (b"\x1b[?25la\x1b[10Ab\x1b[?1049h", "ab"),
        (b"\x1b]0;a title\x07text", "text"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1b(Btext\x1b7\x1b8\x1bc", "text"),
        (b"bell\x07 \x00 \x1b", "bell\\x07 \\x00 \\x1b"),
        ("\u202egnp.exe \x9b31m".encode(), "\\u202egnp.exe \\x9b31m"),
        (b"a\tb", "a       b"),
        (b"\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m\x1b[0m"),
        (b"\x1b[38:2::1:2:3mred", "\x1b[38:2::1:2:3mred\x1b[0m"),
    ],
)
def test_colours_stay_and_nothing_else_is_obeyed(written: bytes, seen: str) -> None:
    assert lines(written + b"\n") == [seen]


@given(st.binary(max_size=60))
def test_whatever_is_written_moves_no_cursor(written: bytes) -> None:
    for line in lines(written):
        rest = line
        for code in range(10):
            rest = rest.replace(f"\x1b[{code}m", "")
        assert "\x1b" not in rest or "m" in rest.partition("\x1b")[2]
        assert not set("\r\b\x07\x9b\x00") & set(line)


def test_a_sequence_that_is_not_whole_yet_is_not_shown() -> None:
    output = OutputLines()
    output.feed(b"abc\x1b[3")
    assert output.unfinished == "abc"
    output.feed(b"1mred")
    assert output.unfinished == "abc\x1b[31mred\x1b[0m"


@pytest.mark.parametrize("whole", [b"\x1b]0;a title\x07", b"\x1bPq#0;1\x1b\\", b"\x1b]8;;http://x\x1b\\"])
def test_of_a_string_that_is_not_whole_yet_nothing_is_shown(whole: bytes) -> None:
    for size in range(1, len(whole) + 1):
        output = OutputLines()
        output.feed(b"abc" + whole[:size])
        assert output.unfinished == "abc"
        assert output.feed(whole[size:] + b"\n") == ["abc"]


@pytest.mark.parametrize("piece", [b"\x1b]", b"\x1bP", b"\x1b[", b"\x1b[0", b"\x1b", b"\x1b[1m", b"\b", b"\r", b"a\b"])
@pytest.mark.parametrize("end", [b"", b"\x07", b"\n"])
def test_what_is_made_to_be_hard_to_understand_is_understood_in_no_time(piece: bytes, end: bytes) -> None:
    begun = time.process_time()
    output = OutputLines()
    output.feed(b"a" * 30_000 + piece * (30_000 // len(piece)) + end)
    assert output.unfinished is not None
    # While it lasts, no other thread of the process does anything. It took half a minute.
    assert time.process_time() - begun < 3


def test_a_line_without_an_end_is_broken() -> None:
    output = OutputLines()
    told = [line for _ in range(100) for line in output.feed(b"x" * 4096)]
    assert [len(line) for line in told] == [LONGEST_LINE] * (100 * 4096 // LONGEST_LINE)
    assert len(output.unfinished) == 100 * 4096 % LONGEST_LINE


def test_the_end_of_what_a_crash_has_printed_is_a_line_of_its_own() -> None:
    output = OutputLines()
    output.feed(b"Segmentation fau")
    assert output.end() == ["Segmentation fau"]
    assert output.end() == []
    assert output.feed(b"next\n") == ["next"]
