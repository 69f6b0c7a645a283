"""The score of a rehearsal for people."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console
from support.logs import Log, record, script

from supervisor.rehearsal.score import Score, score
from supervisor.rehearsal.view import render_score

FAULTS = script(
    {"kind": "nan_batch", "at_batch": 10},
    {"kind": "nan_gradient", "at_batch": 20},
    {"kind": "nan_weight", "at_batch": 500},
)


def scored(*, found: bool = True, reference: bool = False) -> Score:
    """A NaN batch at 10, diagnosed right where it was found; a NaN gradient at 20 that nothing finds."""
    log = Log()
    if found:
        log.flags(10, 10, "nonfinite_loss", incident=1, cause="bad_input")
        log.closes(20, 31, 1)
    log.ends(101, 1000, useful=50.0)
    records = [record(0, "nan_batch", 10, 9), record(1, "nan_gradient", 20, 19)]
    return score(FAULTS, records, log.events, log.events if reference else None)


def shown(of: Score) -> list[str]:
    console = Console(width=140, file=io.StringIO(), record=True)
    console.print(render_score(of))
    return [line.rstrip() for line in console.export_text().splitlines()]


def row(lines: list[str], first: str) -> list[str]:
    return next(line for line in lines if line.startswith(first)).split()


def test_each_fault_is_a_line_with_what_became_of_it() -> None:
    lines = shown(scored())
    assert row(lines, "nan_batch")[:8] == ["nan_batch", "10", "nonfinite", "loss", "bad", "input:", "right", "skip"]
    assert row(lines, "nan_gradient")[1:3] == ["20", "missed"]
    assert row(lines, "nan_weight")[1:] == ["never", "-", "-", "-", "-", "-"]


def test_the_sums_say_how_many_were_found_diagnosed_and_lost() -> None:
    lines = shown(scored())
    assert row(lines, "detected ")[1:] == ["1", "of", "2"]
    assert row(lines, "diagnosed ")[1:] == ["1", "of", "1", "right"]
    assert row(lines, "false alarms")[2] == "0"
    assert row(lines, "lost ")[1:3] == ["1", "steps,"]
    assert row(shown(scored(found=False)), "diagnosed ")[1:] == ["nothing", "was", "diagnosed"]


def test_the_run_without_faults_stands_beside_where_there_is_one() -> None:
    assert row(shown(scored()), "ETTR")[-1:] == ["49.50%"]
    lines = shown(scored(reference=True))
    assert row(lines, "run ")[1:] == ["with", "faults", "without"]
    assert row(lines, "ETTR")[-2:] == ["49.50%", "49.50%"]
    assert row(lines, "mrr")[-2:] == ["0.5", "0.5"]


def test_several_strikes_are_counted_and_those_missed_are_told() -> None:
    log = Log()
    log.flags(10, 10, "nonfinite_loss", incident=1, cause="loss_function")
    records: list[Any] = [record(0, "nan_batch", step, step - 1) for step in (10, 11)]
    lines = shown(score(script({"kind": "nan_batch", "at_batch": 10, "batches": 2}), records, log.events))
    line = next(line for line in lines if line.startswith("nan_batch"))
    assert "2 times" in line
    assert "nonfinite loss, 1 missed" in line
    assert "loss function: wrong" in line
    assert row(lines, "ended")[1:] == ["did", "not", "end"]
