"""A row of the data set that ends the process that reads it is named, and left out the second time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.command import supervise
from support.runs import exits, named, steady_job

from supervisor.events.quarantine_file import read_quarantine

TRAINER = """
import os
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset

class Rows(Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, index):
        if index == {row}:
            {ends}
        return torch.full((4,), index / 40)

class Deadly:
    scheduler = None

    def __init__(self, config):
        self.model = nn.Linear(4, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        rows = Subset(Rows(), range(40)) if config.get("subset") else Rows()
        self.data = DataLoader(rows, 4, num_workers=config.get("processes", 0))

    @classmethod
    def from_config(cls, config, *, seed):
        return cls(config)

    def loss(self, batch):
        return self.model(batch).square().mean()
"""


def deadly_job(folder: Path, ends: str = "os._exit(1)", *, row: int = 17, **values: Any) -> None:
    steady_job(folder, trainer="deadly:Deadly", steps=25, **values)
    (folder / "deadly.py").write_text(TRAINER.format(row=row, ends=ends))


@pytest.mark.parametrize(
    ("ends", "config"),
    [
        ("os._exit(1)", {}),
        pytest.param("os._exit(1)", {"processes": 2}, marks=pytest.mark.slow),
        pytest.param("os._exit(1)", {"subset": True}, marks=pytest.mark.slow),
        pytest.param("os.kill(os.getpid(), 11)", {}, marks=pytest.mark.slow),
        pytest.param("os.kill(os.getpid(), 11)", {"processes": 2, "subset": True}, marks=pytest.mark.slow),
    ],
)
def test_the_run_goes_on_without_it(tmp_path: Path, ends: str, config: dict[str, Any]) -> None:
    deadly_job(tmp_path, ends, config=config)
    run = tmp_path / "run"
    done = supervise("run", "job.yaml", cwd=tmp_path)
    assert done.returncode == 0, (done.stdout, done.stderr)
    together = (16, 17, 18, 19) if config.get("subset") else (17,)
    deaths = [event for event in named(run, "worker_exited") if event.rows]
    assert [event.rows for event in deaths] == [together, (17,)]
    assert [sample.index for sample in read_quarantine(run / "deadly_rows.jsonl")] == [17]
    (finished,) = named(run, "run_finished")
    assert finished.summary.quarantined == (17,)
    assert any("row 17 of the data set was being read as the worker ended" in e.message for e in named(run, "warning"))
    said = " ".join(supervise("explain", "run", cwd=tmp_path).stdout.split())
    assert "row 17 of the data set was being read" in said
    assert 'Row 17 of the data set was being read: mend the row, or leave it out by a line {"index": 17} in' in said
    record = json.loads((run / "incidents" / "process-0001" / "incident.json").read_text())
    assert record["rows"] == [*together]
    if not config:
        again = supervise("run", "job.yaml", "--resume", "--steps", "45", cwd=tmp_path)
        assert again.returncode == 0, (again.stdout, again.stderr)
        assert exits(run)[2:] == ["finished", "finished"]


@pytest.mark.slow
def test_where_no_row_may_be_left_out_the_message_names_it_and_what_to_do(tmp_path: Path) -> None:
    deadly_job(tmp_path, policy={"diagnose": {"quarantine": False}})
    done = supervise("run", "job.yaml", cwd=tmp_path)
    assert done.returncode == 4, (done.stdout, done.stderr)
    said = " ".join(done.stderr.split())
    assert 'row 17 of the data set was being read: mend the row, or leave it out by a line {"index": 17} in' in said
    (tmp_path / "run" / "deadly_rows.jsonl").write_text('{"index": 17}\n')
    again = supervise("run", "job.yaml", "--resume", cwd=tmp_path)
    assert again.returncode == 0, (again.stdout, again.stderr)


@pytest.mark.slow
def test_a_list_of_the_jobs_own_leaves_it_out_from_the_start_and_a_batch_of_nothing_else_too(tmp_path: Path) -> None:
    deadly_job(tmp_path, quarantine="bad.jsonl")
    (tmp_path / "bad.jsonl").write_text("".join(f'{{"index": {row}}}\n' for row in range(16, 20)))
    done = supervise("run", "job.yaml", cwd=tmp_path)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert exits(tmp_path / "run") == ["finished"]
