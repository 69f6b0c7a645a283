"""What a run directory must be, and what is opened in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.parts import policy_of

from supervisor.checkpoints import CheckpointStore
from supervisor.errors import InputError
from supervisor.events.observation_file import read_observations
from supervisor.events.schema import RunStartedEvent
from supervisor.policy import load_policy
from supervisor.record.run_files import Reporting, RunFiles
from supervisor.records import Observation
from supervisor.testing.clock import FakeClock
from supervisor.testing.events import EventList


def opened(run_dir: Any, *, resume: bool = False, run_id: str | None = None, **options: Any) -> RunFiles:
    observations = options.pop("observations", False)
    listeners = options.pop("listeners", ())
    policy = options.pop("policy", policy_of())
    return RunFiles(Reporting(run_dir, resume, run_id, 1, observations, listeners, None, FakeClock()), policy)


def written(run_dir: Path, step: int = 3) -> Path:
    """A run that wrote a line and a checkpoint."""
    files = opened(run_dir)
    files.log.emit(RunStartedEvent(steps=9))
    files.log.close()
    assert files.store is not None
    return files.store.write(step, step, {"step": step})


class TestWithoutADirectory:
    def test_nothing_is_written_and_listeners_hear_all_the_same(self) -> None:
        heard = EventList()
        files = opened(None, observations=True, listeners=[heard], run_id="mine")
        assert (files.store, files.layout, files.observations, files.log.path) == (None, None, None, None)
        files.log.emit(RunStartedEvent(steps=9))
        assert [event.run_id for event in heard] == ["mine"]

    def test_there_is_nothing_to_resume(self) -> None:
        with pytest.raises(InputError, match="resume: there is nothing to resume without run_dir"):
            opened(None, resume=True)


class TestANewRun:
    def test_its_policy_is_in_it_and_reads_back_the_same(self, tmp_path: Path) -> None:
        policy = policy_of({"action": "skip_batch", "attempts": 7})
        files = opened(tmp_path / "deep" / "run", policy=policy)
        assert files.layout is not None
        assert load_policy(files.layout.policy) == policy
        assert files.layout.root == tmp_path / "deep" / "run"

    def test_every_run_has_a_name_of_its_own_in_its_lines_and_checkpoints(self, tmp_path: Path) -> None:
        names = set()
        for name in ("one", "two"):
            path = written(tmp_path / name)
            line = json.loads((tmp_path / name / "events" / "rank0.jsonl").read_text(encoding="utf-8"))
            assert line["run_id"] == json.loads((path / "manifest.json").read_text(encoding="utf-8"))["run_id"]
            names.add(line["run_id"])
        assert len(names) == 2

    def test_observations_are_kept_where_that_is_asked_for(self, tmp_path: Path) -> None:
        assert opened(tmp_path / "one").observations is None
        files = opened(str(tmp_path / "two"), observations=True)
        assert files.observations is not None
        files.observations.write(Observation(0, 0, 1.0, 2.0))
        assert read_observations(tmp_path / "two") == {0: Observation(0, 0, 1.0, 2.0)}

    def test_a_directory_that_holds_a_run_is_refused_and_left_as_it_is(self, tmp_path: Path) -> None:
        written(tmp_path)
        for gone in ("events/rank0.jsonl", "policy.yaml"):
            (tmp_path / gone).unlink()
            with pytest.raises(
                InputError, match=r"holds a run already: resume it \(`resume=True`\), or choose another run directory"
            ):
                opened(tmp_path)
        assert not (tmp_path / "policy.yaml").exists()

    def test_one_whose_run_left_only_its_log_is_refused_too(self, tmp_path: Path) -> None:
        opened(tmp_path).log.emit(RunStartedEvent(steps=9))
        with pytest.raises(InputError, match="holds a run already"):
            opened(tmp_path)

    def test_what_else_lies_there_is_no_run(self, tmp_path: Path) -> None:
        (tmp_path / "job.yaml").write_text("version: 1", encoding="utf-8")
        assert opened(tmp_path).store is not None

    def test_a_name_that_no_disk_takes_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"cannot be used .*: choose another run directory"):
            opened(tmp_path / ("x" * 300))

    @pytest.mark.parametrize("taken", ["", "events", "policy.yaml"])
    def test_a_place_that_is_taken_is_refused(self, taken: str, tmp_path: Path) -> None:
        place = tmp_path / "run" / taken
        if taken == "policy.yaml":
            place.mkdir(parents=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("in the way", encoding="utf-8")
        with pytest.raises(InputError, match=r"cannot be written .*: choose another run directory"):
            opened(tmp_path / "run")


class TestAResumedRun:
    def test_it_keeps_its_name_unless_it_is_given_another(self, tmp_path: Path) -> None:
        written(tmp_path)
        first = json.loads((tmp_path / "events" / "rank0.jsonl").read_text(encoding="utf-8"))["run_id"]
        assert opened(tmp_path, resume=True).log.run_id == first
        assert opened(tmp_path, resume=True, run_id="other").log.run_id == "other"

    @pytest.mark.parametrize("line", [b"", b"\xff\n", b"{}\n", b"[]\n", b"3\n"])
    def test_a_log_without_a_name_gives_it_a_new_one(self, line: bytes, tmp_path: Path) -> None:
        written(tmp_path)
        (tmp_path / "events" / "rank0.jsonl").write_bytes(line)
        assert len(opened(tmp_path, resume=True).log.run_id) == 12

    @pytest.mark.parametrize("there", [False, True])
    def test_without_a_checkpoint_there_is_nothing_to_go_on_from(self, there: bool, tmp_path: Path) -> None:
        if there:
            opened(tmp_path / "run").log.emit(RunStartedEvent(steps=9))
        with pytest.raises(InputError, match="no checkpoint to resume from: start the run without `resume=True`"):
            opened(tmp_path / "run", resume=True)
        assert (tmp_path / "run").exists() is there

    @pytest.mark.parametrize(("of_job", "said"), [(True, "--resume"), (False, "`resume=True`")])
    def test_the_run_of_a_job_is_told_by_the_flags_of_the_command_line(
        self, of_job: bool, said: str, tmp_path: Path
    ) -> None:
        opened(tmp_path).log.emit(RunStartedEvent(steps=9))
        if of_job:
            (tmp_path / "job.yaml").touch()
        with pytest.raises(InputError, match="no checkpoint to resume from: ") as raised:
            opened(tmp_path, resume=True)
        assert said in str(raised.value)
        assert ("resume=True" in str(raised.value)) is not of_job
        with pytest.raises(InputError, match="holds a run already: ") as raised:
            opened(tmp_path)
        assert ("resume=True" in str(raised.value)) is not of_job

    def test_the_only_checkpoint_is_found_where_a_killed_writer_left_it(self, tmp_path: Path) -> None:
        """Between the two renames of a replacement it stands under another name."""
        path = written(tmp_path)
        path.rename(path.with_name(f".replaced-{path.name}"))
        files = opened(tmp_path, resume=True)
        assert files.store is not None
        assert [info.step for info in files.store.committed()] == [3]

    def test_its_policy_takes_the_place_of_the_old_one(self, tmp_path: Path) -> None:
        written(tmp_path)
        policy = policy_of({"action": "halt"})
        opened(tmp_path, resume=True, policy=policy)
        assert load_policy(tmp_path / "policy.yaml") == policy

    def test_what_a_killed_writer_left_unfinished_is_gone(self, tmp_path: Path) -> None:
        path = written(tmp_path)
        unfinished = path.with_name(".unfinished-step-00000009")
        unfinished.mkdir()
        opened(tmp_path, resume=True)
        assert not unfinished.exists()
        assert CheckpointStore(tmp_path / "checkpoints", "any").load(path) == {"step": 3}
