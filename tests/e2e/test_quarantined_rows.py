"""A bad row through the real command line: one strike, a list, and a next run that never sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command import supervise
from support.runs import named, steady_job


@pytest.mark.slow
def test_a_bad_row_strikes_once_and_the_next_run_never_sees_it(tmp_path: Path) -> None:
    bad = [{"kind": "nan_sample", "rows": [37]}]
    options = {"steps": 40, "policy": {"detect": {"spike": None}}, "faults": bad, "config": {"batch_size": 16}}
    steady_job(tmp_path, **options, run_dir="first")
    done = supervise("run", "job.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first = tmp_path / "first"
    assert [event.dataset_indices for event in named(first, "diagnosis")] == [(37,)]
    assert [event.summary.skipped_steps for event in named(first, "run_finished")] == [1]
    lines = (first / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["index"] for line in lines] == [37]

    steady_job(tmp_path, **options, run_dir="second", quarantine="first/quarantine.jsonl")
    done = supervise("run", "job.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    second = tmp_path / "second"
    assert [event.summary.skipped_steps for event in named(second, "run_finished")] == [0]
    assert named(second, "signal", "incident_opened") == []

    (tmp_path / "list.jsonl").write_text('{"index": 1}\n{"row": 2}\n', encoding="utf-8")
    steady_job(tmp_path, **options, run_dir="third", quarantine="list.jsonl")
    done = supervise("run", "job.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "list.jsonl:2: is no quarantined sample: write" in done.stderr
    assert "Traceback" not in done.stderr
