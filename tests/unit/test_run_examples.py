"""The examples of a page are run and compared, and a page that says what is not so is found."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "run_examples.py"
FOUND = runpy.run_path(str(SCRIPT), run_name="run_examples")


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "page.md"


def marked(comment: str, body: str) -> str:
    return f"Some text.\n\n<!-- {comment} -->\n```\n{body}```\n\nMore of it.\n"


def wrong(page: Path, text: str, **options: Any) -> list[str]:
    page.write_text(text)
    return list(FOUND["wrong_in"](page, **options))


def test_what_a_page_says_and_what_is_printed_are_compared(page: Path) -> None:
    assert wrong(page, marked("output: echo one; echo two >&2", "one\ntwo\n")) == []
    (said,) = wrong(page, marked("output: echo one", "two\n"))
    assert said == "page.md:3: echo one: prints\none\n\nwhere the page says\ntwo"


def test_a_code_that_is_not_the_expected_one_is_told(page: Path) -> None:
    assert wrong(page, marked("output exit 3: echo no; exit 3", "no\n")) == []
    (said,) = wrong(page, marked("output: echo no; exit 3", "no\n"))
    assert said.startswith("page.md:3: echo no; exit 3: ended in 3, not in 0:\nno")
    (said,) = wrong(page, "<!-- before: false -->\n\n```\nanother block\n```\n")
    assert "ended in 1, not in 0" in said


def test_files_of_the_page_and_what_ran_before_are_there(page: Path) -> None:
    text = marked("file: deep/mine.txt", "its text\n") + "\n<!-- before: mv deep/mine.txt other.txt -->\n\n"
    assert wrong(page, text + marked("output: cat other.txt", "its text\n")) == []
    assert wrong(page, marked("output: ls configs/jobs/demo.yaml", "configs/jobs/demo.yaml\n")) == []
    assert (
        wrong(
            page, marked("output: python -c 'import supervisor' && supervisor policy show | head -n 1", "version: 1\n")
        )
        == []
    )


def test_slow_ones_run_only_where_that_is_asked_for(page: Path) -> None:
    text = marked("output slow: echo one", "two\n") + "\n<!-- before slow: false -->\n"
    assert wrong(page, text) == []
    assert len(wrong(page, text, slow=True)) == 2


def test_an_update_writes_what_is_printed_now_and_leaves_what_agrees(page: Path) -> None:
    same = marked("output: echo took 1.25 s", "took 7.5 s\n")
    text = marked("output: printf 'a\\nlonger  \\n'", "b\n") + same + marked("output: echo last", "old\nlines\n")
    assert wrong(page, text, update=True) == []
    fresh = page.read_text()
    assert fresh == text.replace("b\n```", "a\nlonger\n```").replace("old\nlines\n", "last\n")
    assert wrong(page, fresh) == []


def test_an_update_of_an_empty_block_fills_it(page: Path) -> None:
    assert wrong(page, marked("output: echo one", ""), update=True) == []
    assert page.read_text() == marked("output: echo one", "one\n")


def test_a_comment_without_its_block_is_an_error(page: Path) -> None:
    with pytest.raises(FOUND["WrongPage"], match=r"page\.md:1: no fenced block follows"):
        wrong(page, "<!-- output: echo one -->\n\ntext\n")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("at 2026-11-27 19:24:15 UTC", "at 2027-01-02 03:04:05 UTC"),
        ("22:01:44.289  step 3", "01:02:03.004  step 3"),
        ("run 83912d069a34 started", "run 000000000000 started"),
        ("loss 1.613, and was 1.6e-05", "loss 1.7, and was 2.25"),
        ("it took 1.9 s", "it took 23 s"),
        ("after 3 min 20 s", "after 2 h 5 min"),
        ("goodput 80.8%", "goodput 79 %"),
        ("process 123 died", "process 7 died"),
        ("worker 123 died: killed (SIGKILL)", "worker 7 died: killed (SIGKILL)"),
        ("  14.3 s: start-up 55.3% (7.9 s), down 8.5% (1.2 s)", "  1 min 3 s: training 60.3% (8 s), other 2.5% (1 s)"),
        ("loss   0.2  ", "loss 0.31"),
    ],
)
def test_what_differs_from_run_to_run_is_not_compared(one: str, other: str) -> None:
    assert FOUND["normalised"](one) == FOUND["normalised"](other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("step 3", "step 4"),
        ("loss nan", "loss 0.5"),
        ("rung 0", "rung 1"),
        ("a\nb", "a"),
        ("it cost 2 steps", "it cost 3 steps"),
    ],
)
def test_all_else_is(one: str, other: str) -> None:
    assert FOUND["normalised"](one) != FOUND["normalised"](other)


def test_an_ellipsis_stands_for_any_number_of_lines() -> None:
    agree = FOUND["agree"]
    assert agree(["a", "…", "d"], ["a", "b", "c", "d"])
    assert agree(["a", "…", "d"], ["a", "d"])
    assert agree(["…", "b", "…"], ["a", "b", "c"])
    assert not agree(["a", "…", "d"], ["a", "b"])
    assert not agree(["a", "…"], ["b"])
    assert not agree(["a", "b", "…"], ["a"])


def test_lines_that_were_cut_off_are_compared_as_far_as_they_go() -> None:
    agree, line = FOUND["agree"], "a line that is much too long to be shown"
    assert agree([f"{line}…"], [f"{line[:-9]}…"])
    assert not agree([f"{line}…"], [f"another {line[:-9]}…"])
    assert not agree([f"{line}…"], [line])


def test_the_line_of_the_command_is_for_the_reader_and_stays(page: Path) -> None:
    text = marked("output: echo one", "$ echo one\none\n")
    assert wrong(page, text) == []
    (said,) = wrong(page, text.replace("\none\n", "\ntwo\n"))
    assert said.endswith("prints\none\n\nwhere the page says\ntwo")
    assert wrong(page, text.replace("\none\n", "\ntwo\n"), update=True) == []
    assert page.read_text() == text


def test_a_line_of_another_command_is_an_error(page: Path) -> None:
    with pytest.raises(FOUND["WrongPage"], match=r"page\.md:3: the block shows another command .*: \$ echo two"):
        wrong(page, marked("output: echo one", "$ echo two\none\n"))
