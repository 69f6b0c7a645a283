"""A job is tried through the real command line, and the list that comes of it keeps its bad rows out of the run."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.command import strict_json, supervise, write_job
from support.runs import named

BAD = {"nan": [17], "infinite": [101], "torn": [5, 200], "far": [77]}


def table_job(folder: Path, **values: Any) -> None:
    shutil.copy(Path(__file__).parents[1] / "support" / "table.py", folder)
    job = {"trainer": "table:Table", "steps": 60, "run_dir": "runs/mine", "device": "cpu"}
    write_job(folder, **{**job, **values})


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_bad_rows_are_found_listed_and_never_met(tmp_path: Path, workers: int) -> None:
    table_job(tmp_path, config={**BAD, "workers": workers})
    done = supervise("preflight", "job.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "320 rows looked at: 5 with something wrong" in done.stdout
    assert "row 5: ValueError: row 5 is torn (" in done.stdout
    assert "row 17: tensor 0: nan in column 2" in done.stdout
    assert "row 77: tensor 0, column " in done.stdout
    assert done.stdout.endswith("the job can run, with the bad rows above\n")
    # In a pipe there is neither a bar nor a colour, and nothing is left but the list.
    assert (done.stderr, "\x1b" in done.stdout) == ("", False)
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {
        "job.yaml",
        "table.py",
        "job-quarantine.jsonl",
    }
    lines = (tmp_path / "job-quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["index"] for line in lines] == [5, 17, 77, 101, 200]

    table_job(tmp_path, config={**BAD, "workers": workers}, quarantine="job-quarantine.jsonl")
    done = supervise("run", "job.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (end,) = named(tmp_path / "runs" / "mine", "run_finished")
    # Ten batches an epoch, of which none was lost.
    assert (end.summary.applied_steps, end.summary.incidents) == (60, 0)
    assert [*end.summary.quarantined] == [5, 17, 77, 101, 200]


def test_a_batch_that_batch_norm_cannot_take_is_told_for_machines(tmp_path: Path) -> None:
    table_job(tmp_path, config={"rows": 65})
    done = supervise("preflight", "job.yaml", "--rows", "all", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = strict_json(done.stdout)
    assert (found["data"]["read"], found["data"]["bad_rows"], found["quarantine"]) == (65, [], None)
    assert found["checkpoint"]["identical"] is True
    assert (found["data"]["smallest_batch"], found["problems"]) == (1, [])
    (warning,) = found["warnings"]
    assert "Expected more than 1 value per channel" in warning


@pytest.mark.slow
def test_a_job_that_dies_or_takes_no_step_ends_with_two(tmp_path: Path) -> None:
    table_job(tmp_path, config={"fault": "kill"})
    done = supervise("preflight", "job.yaml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "the process was killed by SIGKILL, while building the trainer\n")
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"job.yaml", "table.py"}
    table_job(tmp_path, config={"fault": "raises"})
    done = supervise("preflight", "job.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "IndexError: index 7 is out of range" in done.stderr
    assert "table.py:" in done.stderr
    assert "Traceback" not in done.stderr


DOCS = Path(__file__).parents[2] / "docs" / "preflight.md"


def test_the_example_of_the_docs_is_what_is_printed(tmp_path: Path) -> None:
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (_, trainer), (_, job), (_, printed), (_, listed), *_ = blocks
    (tmp_path / "readings.py").write_text(trainer, encoding="utf-8")
    (tmp_path / "job.yaml").write_text(job, encoding="utf-8")
    done = supervise("preflight", "job.yaml", "--rows", "all", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert steady(done.stdout) == steady(printed)
    assert steady((tmp_path / "job-quarantine.jsonl").read_text(encoding="utf-8")) == steady(listed)


def steady(text: str) -> list[str]:
    """The lines, without what is another each time: folders, times, sizes, and the metric of an untrained model."""
    text = re.sub(r"\S*/readings\.py", "readings.py", text)
    text = re.sub(r"(?:[\d.e-]+ (?:d|h|min|s|[kMGT]B)\b ?)+", "# ", text)
    return re.sub(r"(error) [\d.e-]+", r"\1 #", text).splitlines()
