"""The long runs: the guard changes nothing in a sound one, bad rows are left out, the table says what was done."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.long_measure import LongRun, bad_rows, run_guarded, run_unguarded, table
from benchmarks.long_workloads import LONG_WORKLOADS

# What benchmarks are made of breaks nothing that users run.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
NAME = "learnt by heart"


@pytest.mark.parametrize("name", LONG_WORKLOADS)
def test_each_workload_has_a_loss_and_a_score_and_can_be_spoilt(name: str) -> None:
    work = LONG_WORKLOADS[name](0)
    for rows, finite in ((work.rows, True), (work.rows.with_nan(range(len(work.rows))), False)):
        work.rows = rows
        loss = work.loss(next(iter(work.data(0))))
        assert math.isfinite(float(loss.detach())) is finite
    assert math.isfinite(work.final_score())


def test_a_healthy_run_is_the_same_with_and_without_the_guard() -> None:
    guarded, plain = run_guarded(NAME, 0, 100), run_unguarded(NAME, 0, 100)
    assert guarded.score == plain.score == run_unguarded(NAME, 0, 100).score
    assert (guarded.steps, guarded.interventions, guarded.quarantined) == (100, 0, ())


def test_the_rows_left_out_are_those_that_are_bad() -> None:
    # Two epochs of 32 batches.
    run = run_guarded(NAME, 1, 64, spoilt=3)
    assert run.quarantined == tuple(bad_rows(3, len(LONG_WORKLOADS[NAME](1).rows), 1))
    assert run.discarded == len(run.shown) > 0
    assert run.counts is not None
    assert run.counts["nonfinite_loss"] == run.discarded


def test_the_table_counts_what_was_done() -> None:
    counts = Counter({"incident_opened": 2, "skip_batch": 3, "reload_checkpoint": 1, "odd_update": 7, "experiment": 5})
    plain = LongRun(NAME, "accuracy", 1000, 1000, 0.99, 1.0, 2.0)
    other = dataclasses.replace(plain, score=0.98)
    run = LongRun(NAME, "accuracy", 1000, 1010, 0.97, 1.5, 3.25, 4, counts)
    lines = table([run], [[plain, other]]).splitlines()
    assert lines[2] == (
        "| learnt by heart | 1,000 | 2 | 3 | 0 | 1 | 0 | 0 | 39.60 | accuracy | 0.97 | 0.99, 0.98 | 50 % | 3.2 | 2.0 "
        "| 7 | 5 |"
    )
    assert lines[-1] == "4 interventions in 1,010 updates: 39.60 per 10,000."


def test_the_table_names_the_rows_that_are_in_and_those_that_are_wrongly_out() -> None:
    first, *others = bad_rows(3, len(LONG_WORKLOADS[NAME](0).rows), 0)
    wrong = next(row for row in range(9) if row not in {first, *others})
    plain = LongRun(NAME, "accuracy", 10, 10, 0.9, 1.0, 0.0)
    run = dataclasses.replace(plain, counts=Counter(), quarantined=(*others, wrong))
    assert table([run], [[plain]], spoilt=3).splitlines()[2].endswith(f"| 2 of 3, not {first}, and also {wrong} |")


def test_the_command_refuses_a_file_without_marks_and_leaves_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no marks", encoding="utf-8")
    command = [sys.executable, "benchmarks/long_runs.py", "--write", str(page)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "lacks the lines" in done.stderr
    assert page.read_text() == "no marks"
