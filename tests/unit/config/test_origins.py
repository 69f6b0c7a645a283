"""Where values come from, and how problems name it."""

from __future__ import annotations

import pytest

from supervisor.config.origins import Origins, Problem, dotted, one_line, refuse
from supervisor.errors import InputError

FILE = Origins("file.yaml", {(): 1, ("a",): 2, ("a", "b"): 3, ("a", "b", 0): 4, ("c",): 5})


def test_a_value_has_its_own_place() -> None:
    assert FILE.place(("a", "b", 0)) == ("file.yaml:4", (0, 4), 3)


@pytest.mark.parametrize(
    ("path", "text", "depth"),
    [(("a", "b", 7, "x"), "file.yaml:3", 2), (("a", "x"), "file.yaml:2", 1), (("x",), "file.yaml:1", 0)],
)
def test_what_is_not_written_has_the_place_of_what_is_around_it(
    path: tuple[object, ...], text: str, depth: int
) -> None:
    place = FILE.place(path)
    assert (place.text, place.depth) == (text, depth)


def test_a_source_without_lines_is_named_alone() -> None:
    assert Origins("policy").place(("a",)) == ("policy", (0, 0), 0)


def test_a_flag_takes_the_place_of_everything_below_its_path() -> None:
    changed = FILE.with_flag(("a", "b"), "--set a.b=[]")
    assert changed.place(("a", "b", 0)).text == "--set a.b=[]"
    assert changed.place(("a",)).text == "file.yaml:2"
    assert FILE.place(("a", "b")).text == "file.yaml:3"
    again = changed.with_flag(("a",), "--set a={}")
    assert again.flags == {("a",): "--set a={}"}


def test_flags_come_after_lines_in_their_order() -> None:
    changed = FILE.with_flag(("c",), "--set c=1").with_flag(("a",), "--set a=1")
    ranks = [changed.place(path).rank for path in ((), ("c",), ("a",))]
    assert ranks == sorted(ranks)


def test_a_part_keeps_its_lines_and_flags() -> None:
    part = FILE.with_flag(("a", "x"), "--set a.x=1").below(("a",))
    assert part.place(()).text == "file.yaml:2"
    assert part.place(("b", 0)).text == "file.yaml:4"
    assert part.place(("x",)).text == "--set a.x=1"
    assert part.place(("c",)).text == "file.yaml:2"


def test_a_part_that_is_not_written_has_the_line_of_what_is_around_it() -> None:
    assert FILE.below(("x",)).place(("y",)).text == "file.yaml:1"
    assert FILE.below(("a", "x")).place(("y",)).text == "file.yaml:2"
    assert FILE.with_flag(("a",), "--set a={}").below(("a", "x")).place(("y",)).text == "--set a={}"


def test_a_problem_names_place_key_and_fix() -> None:
    assert str(FILE.problem(("a", "b"), "is wrong", "write 5")) == "file.yaml:3: a.b: is wrong: write 5"
    assert str(FILE.problem((), "is wrong")) == "file.yaml:1: is wrong"


def test_a_prefix_is_shown_before_the_key() -> None:
    problem = FILE.problem(("a", "b"), "is wrong", prefix=("policy",), section=("a",))
    assert str(problem) == "file.yaml:3: policy.a.b: is wrong"
    assert problem.section == ("policy", "a")


def test_a_flag_says_itself_which_key_it_sets() -> None:
    changed = FILE.with_flag(("a",), "--set a=5")
    assert str(changed.problem(("a",), "is wrong")) == "--set a=5: is wrong"
    assert str(changed.problem(("a", "b"), "is wrong")) == "--set a=5: a.b: is wrong"


def test_paths_are_written_with_dots() -> None:
    assert dotted(("ladder", 0, "attempts")) == "ladder.0.attempts"


@pytest.mark.parametrize(("text", "shown"), [("a\nb", "a\\nb"), ("\x1b[31m", "\\x1b[31m"), ("é", "é")])
def test_messages_keep_to_their_line(text: str, shown: str) -> None:
    assert one_line(text) == shown
    assert str(FILE.problem((), text)).endswith(shown)


def test_all_problems_are_raised_at_once_each_line_once_in_order() -> None:
    late, early = FILE.problem(("c",), "late"), FILE.problem(("a",), "early")
    with pytest.raises(InputError) as caught:
        refuse([late, early, late])
    assert caught.value.problems == ("file.yaml:2: a: early", "file.yaml:5: c: late")


def test_nothing_is_raised_where_nothing_is_wrong() -> None:
    problems: list[Problem] = []
    refuse(problems)
    assert problems == []


def test_a_flood_is_cut_short() -> None:
    with pytest.raises(InputError) as caught:
        refuse([FILE.problem(("c",), f"wrong {number}") for number in range(103)])
    assert len(caught.value.problems) == 101
    assert caught.value.problems[-1] == "and 3 more problems"
