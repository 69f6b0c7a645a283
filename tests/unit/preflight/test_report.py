"""A report is one strict JSON object, and comes back as it was."""

from __future__ import annotations

import math

from support.command import strict_json

from supervisor.preflight.report import BadRow, DataCheck, Preflight, RowFault, StepCheck

ROWS = (BadRow(fault=RowFault.RAISES, index=3, what="torn"), BadRow(fault=RowFault.NOT_FINITE, batch=1, what="nan"))


def test_it_comes_back_as_it_was() -> None:
    step = StepCheck(
        applied=6, first_seconds=1.0, seconds=0.1, peak_memory_bytes=5, metrics={"mrr": math.inf}, run_seconds=9.0
    )
    data = DataCheck(unit="rows", total=None, read=5, complete=False, rows=5, bad_rows=ROWS)
    found = Preflight(job="job.yaml", trainer="mine:Mine", steps=3, step=step, data=data)
    text = found.model_dump_json()
    assert strict_json(text)["step"]["metrics"] == {"mrr": "inf"}
    assert Preflight.model_validate_json(text) == found


def test_rows_are_found_by_what_is_wrong() -> None:
    data = DataCheck(unit="rows", total=5, read=5, complete=True, rows=5, bad_rows=ROWS)
    assert data.of(RowFault.RAISES) == [ROWS[0]]
    assert data.of(RowFault.FAR_OUTSIDE) == []
