"""The process is started beside the run directory, and nothing is left of it but the list."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.errors import InputError
from supervisor.events.quarantine_file import read_quarantine
from supervisor.job import ResolvedJob
from supervisor.preflight import launch
from supervisor.preflight.launch import preflight
from supervisor.preflight.report import BadRow, DataCheck, Preflight, RowFault
from supervisor.preflight.spec import PreflightSpec

Resolve = Callable[..., ResolvedJob]
BAD = (
    BadRow(fault=RowFault.RAISES, index=3, what="ValueError: torn"),
    BadRow(fault=RowFault.NOT_FINITE, index=5, what="nan"),
    BadRow(fault=RowFault.FAR_OUTSIDE, batch=1, position=2, what="1e9"),
)


class Process:
    """Stands for the process: what it was told, and what it does."""

    def __init__(self) -> None:
        self.told: PreflightSpec | None = None
        self.bad: tuple[BadRow, ...] = ()
        self.phase: str | None = None
        self.code: int = 0

    def __call__(self, module: str, *, told: str, output: int) -> int:
        self.told = spec = PreflightSpec.model_validate_json(told)
        assert spec.folder.is_dir()
        if self.phase is not None:
            spec.phase.write_text(self.phase)
        elif self.code == 0:
            data = DataCheck(unit="rows", total=9, read=9, complete=True, rows=9, bad_rows=self.bad)
            spec.report.write_text(Preflight(job="job.yaml", trainer="t", steps=1, data=data).model_dump_json())
        return self.code


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    stand_in = Process()
    monkeypatch.setattr(launch, "run_helper", stand_in)
    return stand_in


@pytest.fixture
def job(resolve: Resolve, tmp_path: Path) -> Iterator[ResolvedJob]:
    yield resolve()
    assert not [*tmp_path.rglob(".preflight-*")]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_nothing_is_left_of_a_job_without_bad_rows(job: ResolvedJob, process: Process, tmp_path: Path) -> None:
    before = names(tmp_path)
    found = preflight(job, rows=7, quarantine_out="list.jsonl")
    assert (found.quarantine, found.quarantined) == (None, 0)
    assert names(tmp_path) == before
    assert process.told is not None
    assert process.told.rows == 7
    assert process.told.folder.parent == tmp_path
    assert process.told.worker.run_dir == tmp_path / "runs" / "mine"


def test_bad_rows_are_listed_and_the_next_preflight_replaces_the_list(
    job: ResolvedJob, process: Process, tmp_path: Path
) -> None:
    process.bad = BAD
    found = preflight(job, rows=None)
    assert (found.quarantine, found.quarantined) == ("job-quarantine.jsonl", 2)
    before = names(tmp_path)
    process.bad = BAD[:1]
    assert preflight(job, rows=None).quarantined == 1
    assert names(tmp_path) == before
    assert [each.index for each in read_quarantine("job-quarantine.jsonl")] == [3]


def test_what_cannot_be_replaced_is_said_before_anything_is_tried(job: ResolvedJob, process: Process) -> None:
    Path("mine.jsonl").write_text('{"index": 7}\n')
    with pytest.raises(InputError, match=r"--quarantine-out mine\.jsonl: is there already, and is no list of a pre"):
        preflight(job, rows=None, quarantine_out="mine.jsonl")
    assert process.told is None


def test_a_job_whose_own_list_is_torn_is_not_tried(resolve: Resolve, process: Process, tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text("no list\n")
    with pytest.raises(InputError, match=r"own\.jsonl:1: is no quarantined sample"):
        preflight(resolve(quarantine="own.jsonl"), rows=None)
    assert process.told is None


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (-signal.SIGKILL, "the process was killed by SIGKILL, while reading the data"),
        (9, "the process ended with exit code 9, while reading the data"),
    ],
)
def test_a_process_that_dies_says_what_it_did(job: ResolvedJob, process: Process, code: int, said: str) -> None:
    process.code, process.phase = code, "reading the data"
    assert preflight(job, rows=None).problems == (said,)


def test_a_failure_of_its_own_is_a_bug(job: ResolvedJob, process: Process, capsys: pytest.CaptureFixture[str]) -> None:
    process.code = 1
    with pytest.raises(SystemExit) as ended:
        preflight(job, rows=None)
    assert ended.value.code == 1
    assert "the preflight itself has failed" in capsys.readouterr().err


def test_a_request_to_stop_leaves_nothing_behind(job: ResolvedJob, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = signal.getsignal(signal.SIGTERM)

    def asked(module: str, *, told: str, output: int) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return 0

    monkeypatch.setattr(launch, "run_helper", asked)
    with pytest.raises(KeyboardInterrupt):
        preflight(job, rows=None)
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_run_directory_that_cannot_be_made_is_bad_input(resolve: Resolve, process: Process, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(InputError, match="closed/run: cannot be written"):
        preflight(resolve(run_dir="closed/run"), rows=None)


def test_a_folder_that_is_full_is_bad_input(
    job: ResolvedJob, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(launch.tempfile, "mkdtemp", full)
    with pytest.raises(InputError, match=r"runs/mine: cannot be written \(No space left on device\)"):
        preflight(job, rows=None)
