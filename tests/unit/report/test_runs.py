"""All runs below a directory, whatever state they are in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from supervisor.errors import InputError
from supervisor.events.schema import ExitClassification, WorkerStartedEvent
from supervisor.report.runs import plain_runs, read_runs, render_runs

from .conftest import Run


def test_a_run_is_told_in_one_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.at(1, WorkerStartedEvent(pid=5))
    run.step(10, step=19, loss=0.25)
    run.flag(11, step=20, update=20, opens=True)
    run.at(12, run.exited(ExitClassification.KILLED), WorkerStartedEvent(pid=6, restarts=1))
    run.at(13, run.exited(ExitClassification.INTERRUPTED), WorkerStartedEvent(pid=7))
    run.clock.advance(3600)

    (line,) = read_runs(run.run_dir, run.clock)

    assert (line.path, line.state, line.problem) == (str(run.run_dir), "running", None)
    assert (line.steps, line.loss, line.incidents, line.restarts, line.age_seconds) == (100, 0.25, 1, 1, 3600.0)
    Console(width=300).print(render_runs([line]))
    assert capsys.readouterr().out.splitlines()[1].split()[1:] == [
        *("running", str(line.step), "of", "100", "0.25", "1", "1", "1", "h", "ago")
    ]


def test_runs_are_found_below_and_nothing_is_looked_for_within_one(tmp_path: Path) -> None:
    for name in ("b/deep/run", "a", "b/rehearsal/reference", ".hidden", "a/checkpoints/not-one"):
        Run(tmp_path / name).at(0, WorkerStartedEvent(pid=1))
    (tmp_path / "events").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path)

    found = [Path(line.path).relative_to(tmp_path).as_posix() for line in read_runs(tmp_path)]

    assert found == ["a", "b/deep/run", "b/rehearsal/reference"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"no event\nno event\n", b"\xff\xfe\n\x00\n", b"[1]\n[2]\n", "dir"],
    ids=["empty", "torn", "text", "binary", "json", "a folder"],
)
def test_a_broken_directory_has_a_line_and_hides_no_other(content: bytes | str, run: Run) -> None:
    root = run.run_dir / "all"
    Run(root / "sound").at(0, WorkerStartedEvent(pid=1))
    log = root / "broken" / "events" / "rank0.jsonl"
    log.parent.mkdir(parents=True)
    if isinstance(content, bytes):
        log.write_bytes(content)
    else:
        log.mkdir()

    broken, sound = read_runs(root)

    assert sound.problem is None
    assert broken.state in ("unknown", "unreadable")
    assert (broken.state == "unreadable") == bool(broken.problem)
    assert (content in (b"", b"{")) == (broken.problem is None)


def test_what_is_told_can_be_read_by_machines(run: Run) -> None:
    run.step(1, step=0, loss=float("nan"))
    (told,) = json.loads(json.dumps(plain_runs(read_runs(run.run_dir)), allow_nan=False))
    assert told["loss"] == "nan"


def test_a_place_that_cannot_be_read_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        read_runs(tmp_path / "file")
