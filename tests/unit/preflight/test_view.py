"""What a person reads of a preflight."""

from __future__ import annotations

from supervisor.preflight.report import (
    BadRow,
    CheckpointCheck,
    DataCheck,
    Preflight,
    RowFault,
    StepCheck,
    Storage,
)
from supervisor.preflight.view import folded, render_preflight

STEP = StepCheck(
    applied=6,
    first_seconds=0.3,
    seconds=0.1,
    peak_memory_bytes=429_000_000,
    peak_cuda_bytes=2_000_000_000,
    evaluate_seconds=3.0,
    metrics={f"m{number}": 0.5 for number in range(7)},
    run_seconds=164.0,
)
DATA = DataCheck(unit="rows", total=4608, read=1000, complete=False, rows=1000)
LOOKED_AT = "1,000 of 4,608 rows looked at (spread evenly; `--rows all` looks at every one)"
WHOLE = Preflight(
    job="job.yaml",
    trainer="mine:Mine",
    device="cuda",
    steps=1500,
    build_seconds=2.0,
    step=STEP,
    checkpoint=CheckpointCheck(size_bytes=5_740_000, write_seconds=0.07, state_bytes=5_000_000, identical=True),
    storage=Storage(
        checkpoints=4, checkpoint_bytes=28_700_000, free_bytes=81_400_000_000, snapshots=4, snapshot_bytes=20_000_000
    ),
    data=DATA,
)


def test_a_job_that_is_well() -> None:
    assert render_preflight(WHOLE) == [
        "job.yaml: mine:Mine on cuda, 1,500 steps",
        "  trainer     built in 2 s",
        "  step        0.1 s (median of 5; the first took 0.3 s)",
        "  evaluation  3 s: m0 0.5, m1 0.5, m2 0.5, m3 0.5, m4 0.5 and 2 more",
        "  whole run   about 2 min 44 s, where nothing goes wrong",
        "  memory      429 MB, and 2 GB on the device at most",
        "  checkpoint  5.74 MB, written in 0.07 s and read back: the same bit for bit",
        "  disk        4 checkpoints at once, and one being written, take 28.7 MB of 81.4 GB free",
        "  snapshots   4 in memory take 20 MB",
        f"  data        {LOOKED_AT}: nothing wrong",
        "the job can run",
    ]


def test_bad_rows_are_named_up_to_a_few_and_the_list_says_how_to_be_used() -> None:
    bad = tuple(BadRow(fault=RowFault.NOT_FINITE, index=number, what="nan") for number in range(7))
    data = DATA.model_copy(update={"bad_rows": bad, "usual": ("tensor 1: as the data are",)})
    lines = render_preflight(WHOLE.model_copy(update={"data": data, "quarantine": "q.jsonl", "quarantined": 7}))
    assert lines[9:] == [
        f"  data        {LOOKED_AT}: 7 with something wrong",
        "              not finite: 7",
        *(f"                row {number}: nan" for number in range(5)),
        "                and 2 more",
        "              tensor 1: as the data are",
        "  quarantine  q.jsonl: 7 rows, each with its reason",
        "              name it in the job as `quarantine`, relative to the job file, and they are left out",
        "the job can run, with the bad rows above",
    ]


def test_a_list_of_one_row_is_told_as_one() -> None:
    lines = render_preflight(WHOLE.model_copy(update={"quarantine": "q.jsonl", "quarantined": 1}))
    assert "  quarantine  q.jsonl: 1 row, with its reason" in lines


def test_rows_without_an_index_are_named_by_their_batch_and_no_list_can_be_written() -> None:
    bad = (
        BadRow(fault=RowFault.RAISES, batch=3, what="torn"),
        BadRow(fault=RowFault.FAR_OUTSIDE, batch=4, position=2, what="1e9"),
    )
    data = DataCheck(unit="batches", total=None, read=9, complete=True, rows=72, bad_rows=bad)
    lines = render_preflight(WHOLE.model_copy(update={"data": data, "warnings": ("slow",)}))
    assert lines[9:] == [
        "  data        9 batches (72 rows) looked at: 2 with something wrong",
        "              cannot be read: 1",
        "                batch 3: torn",
        "              far outside of its column: 1",
        "                batch 4, position 2: 1e9",
        "  quarantine  no list was written: the data do not tell the indices of these rows",
        "  warning     slow",
        "the job can run, with the warnings above",
    ]


def test_a_job_that_cannot_run_shows_how_far_it_came() -> None:
    found = Preflight(job="job.yaml", trainer="mine:Mine", steps=3, build_seconds=1.0, problems=("no step",))
    assert render_preflight(found) == ["job.yaml: mine:Mine on no device yet, 3 steps", "  trainer     built in 1 s"]


def test_long_lines_are_broken_for_a_terminal_under_what_they_belong_to() -> None:
    lines = ["job.yaml: it", "  warning     " + "word " * 12, "                row 5: " + "word " * 9]
    assert [*folded(lines, 50)] == [
        "job.yaml: it",
        "  warning     word word word word word word word",
        "              word word word word word",
        "                row 5: word word word word word",
        "                word word word word",
    ]


def test_a_pass_that_ends_at_what_the_run_needs_says_so() -> None:
    data = DataCheck(unit="batches", total=None, read=9, complete=False, enough=True, rows=72)
    lines = render_preflight(WHOLE.model_copy(update={"data": data, "warnings": ()}))
    assert lines[9] == "  data        9 batches (72 rows) looked at (the run needs no more): nothing wrong"


def test_what_was_not_looked_at_is_said_under_the_data() -> None:
    data = DATA.model_copy(update={"notes": ("not looked at: the rest",)})
    lines = render_preflight(WHOLE.model_copy(update={"data": data, "warnings": ()}))
    assert lines[10] == "              not looked at: the rest"
