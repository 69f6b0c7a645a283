"""A rehearsal: the mistakes found before it runs anything, and what it runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command import write_job
from support.logs import Log

from supervisor.errors import ExitCode, InputError
from supervisor.events.writer import EventLog
from supervisor.job import ResolvedJob, load_job
from supervisor.process.spec import WorkerSpec
from supervisor.rehearsal import Rehearsal, rehearse
from supervisor.testing.clock import FakeClock

HANG = "version: 1\nfaults: [{kind: hang, at_batch: 1}]\n"


def job(folder: Path, name: str = "job.yaml", **values: object) -> ResolvedJob:
    path = write_job(folder, name, **{"trainer": "mine:Tiny", "steps": 200, "run_dir": "out", **values})
    return load_job(str(path.relative_to(Path.cwd())))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.yaml").write_text(HANG, encoding="utf-8")


def refusal(resolved: ResolvedJob, faults: str | None, reference: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        Rehearsal(resolved, faults, reference)
    assert not Path("out", "rehearsal").exists()
    return str(caught.value)


def test_a_job_without_faults(tmp_path: Path) -> None:
    assert refusal(job(tmp_path), None) == "job.yaml: faults: there are none: add --faults F.yaml"


def test_the_faults_of_the_job_serve_where_none_are_typed(tmp_path: Path) -> None:
    Rehearsal(job(tmp_path, faults="f.yaml"), None, None)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("faults: []", "f.yaml: faults: the list is empty: write one, as `- {kind: nan_batch, at_batch: 100}`"),
        ("faults:\n  - {kind: hung, at_batch: 1}", 'f.yaml:2: faults.0.kind: "hung" is not a kind: write `hang`'),
        ("faults:\n  - {kind: hang, at_batch: 1}\nfault: 1", "f.yaml:3: fault: no such key: write `faults`"),
    ],
)
def test_a_file_that_is_wrong(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text(text, encoding="utf-8")
    assert refusal(job(tmp_path), "f.yaml").startswith(told)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert refusal(job(tmp_path), "g.yaml").startswith("g.yaml: no such file")


def test_a_directory_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    assert refusal(job(tmp_path), "f.yaml") == "out: holds something already: write another --run-dir"


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (None, "--reference ref: holds no run (no job.yaml): name the folder of a finished run"),
        ({"seed": 4}, "--reference ref: is of another job, seed differs: leave it out, and one is run first"),
        ({"steps": 100}, "--reference ref: is of another job, steps differs: leave it out, and one is run first"),
        ({"faults": [{"kind": "hang", "at_batch": 1}]}, "--reference ref: was run with faults: leave it out"),
        ({}, "--reference ref: has not finished: leave it out, and one is run first"),
    ],
    ids=["no run", "seed", "steps", "faults", "unfinished"],
)
def test_a_reference_that_does_not_serve(before: dict[str, object] | None, told: str, tmp_path: Path) -> None:
    (tmp_path / "ref" / "events").mkdir(parents=True)
    if before is not None:
        job(tmp_path, "ref/job.yaml", **before)
    assert refusal(job(tmp_path), "f.yaml", "ref").startswith(told)


class Parents:
    """In place of the parent process: each run writes the log of a finished one and ends with its exit code."""

    def __init__(self, *codes: ExitCode) -> None:
        self.codes = list(codes)
        self.ran: list[ResolvedJob] = []

    def __call__(self, resolved: ResolvedJob) -> Parents:
        self.ran.append(resolved)
        return self

    def run(self) -> ExitCode:
        log = EventLog(self.ran[-1].run_dir / "events" / "rank0.jsonl", "r", 0, FakeClock())
        written = Log()
        written.ends(100, 200, useful=50.0)
        for event in written.events:
            log.emit(event)
        log.close()
        return self.codes.pop(0)


@pytest.fixture
def parents(monkeypatch: pytest.MonkeyPatch) -> Parents:
    made = Parents(ExitCode.FINISHED, ExitCode.FINISHED)
    monkeypatch.setattr(rehearse, "Parent", made)
    return made


def test_the_job_is_run_without_faults_and_then_with_them(tmp_path: Path, parents: Parents) -> None:
    said: list[str] = []
    code, found = Rehearsal(job(tmp_path), "f.yaml", None).run(said.append)
    assert code is ExitCode.FINISHED
    assert [(ran.job.run_dir, ran.faults) for ran in parents.ran] == [
        ("out/reference", None),
        ("out/rehearsal", tmp_path / "f.yaml"),
    ]
    assert said == [
        "Reference: 200 steps without faults, in out/reference",
        "Rehearsal: 200 steps with 1 faults, in out/rehearsal",
    ]
    assert found is not None
    assert found.reference is not None
    assert Path("out/rehearsal/score.json").read_text(encoding="utf-8") == found.model_dump_json(indent=2) + "\n"


def test_a_reference_that_did_not_finish_ends_it(tmp_path: Path, parents: Parents) -> None:
    parents.codes = [ExitCode.HALTED]
    said: list[str] = []
    assert Rehearsal(job(tmp_path), "f.yaml", None).run(said.append) == (ExitCode.HALTED, None)
    assert said[-1] == "The reference did not finish (exit code 3): there is nothing to compare with"


@pytest.mark.parametrize(("code", "scored"), [(ExitCode.HALTED, True), (ExitCode.BAD_INPUT, False)])
def test_a_rehearsal_is_scored_however_it_ended_unless_it_could_not_begin(
    code: ExitCode, scored: bool, tmp_path: Path, parents: Parents
) -> None:
    parents.codes = [ExitCode.FINISHED, code]
    ended, found = Rehearsal(job(tmp_path), "f.yaml", None).run(lambda _text: None)
    assert (ended, found is not None) == (code, scored)


@pytest.mark.parametrize(
    ("fault", "asked"),
    [
        ("{kind: hang, at_batch: 1}", False),
        ("{kind: forward_exception, at_batch: 1}", False),
        ("{kind: forward_exception, at_batch: 1, module: gru}", True),
        ("{kind: nan_weight, at_batch: 1, parameter: gru}", True),
        ("{kind: nan_sample, rows: [7]}", True),
    ],
)
def test_faults_that_do_not_fit_the_trainer_are_found_before_anything_is_trained(
    fault: str, asked: bool, tmp_path: Path, parents: Parents, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    def helper(module: str, *, told: str, output: int) -> ExitCode:
        started.append(module)
        assert WorkerSpec.from_line(told.encode()).faults == str(tmp_path / "f.yaml")
        return ExitCode.BAD_INPUT

    monkeypatch.setattr(rehearse, "run_helper", helper)
    (tmp_path / "f.yaml").write_text(f"faults: [{fault}]", encoding="utf-8")
    code, found = Rehearsal(job(tmp_path), "f.yaml", None).run(lambda _text: None)
    assert started == ["supervisor.process.faults_entry"] * asked
    assert (code, found is None, len(parents.ran)) == (
        (ExitCode.BAD_INPUT, True, 0) if asked else (ExitCode.FINISHED, False, 2)
    )
