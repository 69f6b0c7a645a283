"""The rescue study: its faults are real, what the guard saves it does save, and its table counts what happened."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.rescue_study.cases import Kind
from benchmarks.rescue_study.methods import METHODS
from benchmarks.rescue_study.oracle import CURES, scores
from benchmarks.rescue_study.table import CASES, MARGIN, Result, run_seed, table

# What benchmarks are made of breaks nothing that users run.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def numbered(name: str) -> int:
    return next(number for number, case in enumerate(CASES) if case.name == name)


@functools.cache
def once(number: int) -> Result:
    return run_seed(number, 0)


@pytest.mark.parametrize(
    ("name", "saved_by"),
    [
        ("6 batches of NaN in a row", {"skip non-finite", "skip + clip", "6-sigma skip", "guard"}),
        # Clipping saves it on one processor and not on another.
        ("learning rate times 10 (SGD)", {"guard"}),
        ("one odd batch, times 5", set(METHODS)),
    ],
)
def test_one_case_of_each_kind_is_saved_by_those_who_can(name: str, saved_by: set[str]) -> None:
    result = once(numbered(name))
    either = {"skip + clip"} if name == "learning rate times 10 (SGD)" else set()
    assert {method for method in METHODS if result.rescued(method)} - either == saved_by


def test_the_same_seed_gives_the_same_scores() -> None:
    number = numbered("one odd batch, times 5")
    first, again = once(number), run_seed(number, 0)
    assert (first.clean, first.scores) == (again.clean, again.scores)


def test_the_table_counts_seeds_and_sums_each_kind() -> None:
    transient, harmless = numbered("one batch of NaN"), numbered("one odd batch, times 5")

    def result(case: int, seed: int, guard: float) -> Result:
        return Result(case, seed, 0.96, {**dict.fromkeys(METHODS, 0.5), "guard": guard}, 0.0)

    lines = table([result(transient, 0, 0.93), result(transient, 1, 0.92), result(harmless, 0, 0.46)]).splitlines()
    assert lines[2] == "| one batch of NaN | clusters | 0 | 0 | 0 | 0 | 1 |"
    assert lines[3].endswith("| **0/2 (0 %)** | **1/2 (50 %)** |")
    # A harmless event is held against the same run without a guard, whatever the clean run came to.
    assert lines[4] == "| one odd batch, times 5 | clusters | 1 | 1 | 1 | 1 | 0 |"


def test_the_table_names_the_best_cure_of_a_wrong_set_up() -> None:
    held_out = numbered("eps of 1 (Adam)")

    def result(case: int, seed: int, **cures: float) -> Result:
        return Result(case, seed, 0.96, dict.fromkeys(METHODS, 0.5), 0.0, cures)

    results = [
        result(held_out, 0, none=0.1, clip=0.8, redraw=0.8),
        result(held_out, 1, none=0.1, clip=0.95, redraw=0.9),
    ]
    lines = table([result(numbered("one batch of NaN"), 0), *results]).splitlines()
    assert lines[0].endswith("| guard | oracle | best single cure | its mean score | the guard's |")
    assert lines[2].endswith("| 0 | - |  |  |  |")
    assert lines[4].endswith("| 0 | 1 | clip | 0.875 | 0.500 |")
    assert lines[5].endswith("| **0/2 (0 %)** | **1/2 (50 %)** |  |  |  |")
    assert len({line.count("|") for line in lines}) == 1


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("learning rate times 100 (Adam, GRU)", "rate x 0.1"),
        ("momentum 0.99 (SGD)", "momentum 0.9"),
        ("initial weights times 10 (tanh)", "redraw"),
        ("a plain recurrence without clipping", "clip 1.0"),
        ("eps of 1e-8 in half precision", "eps 1e-4"),
        ("eps of 1 (Adam)", "eps 1e-8"),
    ],
)
def test_each_fault_held_out_is_one_and_has_its_cure(name: str, cure: str) -> None:
    found = scores(CASES[numbered(name)], 0, ("none", cure))
    assert found[cure] > found["none"] + MARGIN
    assert found[cure] > 0.9


def test_a_cure_that_would_change_nothing_is_not_tried() -> None:
    case = CASES[numbered("initial weights times 10 (tanh)")]
    assert scores(case, 0, ("momentum 0.9", "eps 1e-8")) == {}
    assert {"none", "clip 1.0", "rate x 10", "redraw, clip 1.0"} < set(CURES)


def test_there_are_enough_cases_of_each_kind() -> None:
    assert len([case for case in CASES if case.kind is not Kind.HARMLESS]) >= 24
    assert {case.kind for case in CASES} == set(Kind)


def test_the_command_refuses_a_file_without_marks_and_leaves_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no marks", encoding="utf-8")
    command = [sys.executable, "benchmarks/rescue.py", "--write", str(page)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "lacks the lines" in done.stderr
    assert page.read_text() == "no marks"
