"""Every path of a run directory, and files that are replaced whole or not at all."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from supervisor.run_layout import INCIDENT_FILE, RunLayout, replace_file, replace_file_with, sync_file, sync_folder

ROOT = Path("/runs/a")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (RunLayout(ROOT).job, "job.yaml"),
        (RunLayout(ROOT).policy, "policy.yaml"),
        (RunLayout(ROOT).place, "place.json"),
        (RunLayout(ROOT).lock, ".lock"),
        (RunLayout(ROOT).restarts, "restarts.json"),
        (RunLayout(ROOT).quarantine, "quarantine.jsonl"),
        (RunLayout(ROOT).next_batches, "next_batches.json"),
        (RunLayout(ROOT).observations, "observations.jsonl"),
        (RunLayout(ROOT).faults, "faults.jsonl"),
        (RunLayout(ROOT).score, "score.json"),
        (RunLayout(ROOT).events, "events"),
        (RunLayout(ROOT).rank_events, "events/rank0.jsonl"),
        (RunLayout(ROOT).parent_events, "events/supervisor.jsonl"),
        (RunLayout(ROOT).checkpoints, "checkpoints"),
        (RunLayout(ROOT).incidents, "incidents"),
        (RunLayout(ROOT).incident(1), "incidents/0001"),
        (RunLayout(ROOT).incident(12345), "incidents/12345"),
        (RunLayout(ROOT).process_incident(12), "incidents/process-0012"),
        (RunLayout(ROOT).heartbeats, "heartbeat"),
        (RunLayout(ROOT).heartbeat, "heartbeat/rank0"),
        (RunLayout(ROOT).stacks, "heartbeat/rank0.stacks"),
        (RunLayout(ROOT).last_error, "heartbeat/rank0.error"),
    ],
)
def test_paths_are_where_the_formats_say(found: Path, expected: str) -> None:
    assert found == ROOT / expected


def test_another_rank_has_its_own_log_heartbeat_stacks_and_error_and_shares_the_rest() -> None:
    first, third = RunLayout(ROOT), RunLayout(ROOT, rank=2)
    assert third.rank_events == ROOT / "events" / "rank2.jsonl"
    assert third.heartbeat == ROOT / "heartbeat" / "rank2"
    assert third.stacks == ROOT / "heartbeat" / "rank2.stacks"
    assert third.last_error == ROOT / "heartbeat" / "rank2.error"
    assert third.parent_events == first.parent_events
    assert third.checkpoints == first.checkpoints


def test_a_pipe_is_no_event_file(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    layout.events.mkdir(parents=True)
    os.mkfifo(layout.events / "rank1.jsonl")
    assert layout.event_files() == []


def test_the_parent_log_comes_first_among_the_event_files(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    assert layout.event_files() == []
    layout.events.mkdir()
    for name in ("rank1.jsonl", "supervisor.jsonl", "notes.txt", "rank0.jsonl"):
        (layout.events / name).touch()
    assert layout.event_files() == [layout.parent_events, layout.rank_events, RunLayout(tmp_path, 1).rank_events]


def test_incidents_of_the_training_and_of_processes_are_numbered_apart(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    assert layout.incident_numbers() == layout.process_incident_numbers() == []
    for number in (10_000, 3):
        layout.incident(number).mkdir(parents=True)
        layout.process_incident(number).mkdir()
    for other in ("12", "0003.copy", "process-0002.copy"):
        (layout.incidents / other).mkdir()
    assert layout.incident_numbers() == [3, 10_000]
    assert layout.process_incident_numbers() == [3, 10_000]
    assert INCIDENT_FILE == "incident.json"


def test_nothing_is_imported_that_the_parent_could_not_afford() -> None:
    script = "import sys, supervisor.run_layout; print([n for n in ('torch', 'pydantic', 'yaml') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("content", ["naïve\n", b"\x00\xff"])
def test_a_file_is_written_with_its_folders_and_nothing_beside_it(
    tmp_path: Path, content: str | bytes, durable: bool
) -> None:
    path = tmp_path / "deep" / "er" / "file"
    replace_file(path, content, durable=durable)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(path.parent.iterdir()) == [path]


def test_whoever_reads_the_old_file_meanwhile_reads_it_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, "old content")
    with path.open() as reader:
        replace_file(path, "new")
        assert reader.read() == "old content"


def test_what_is_left_of_a_killed_writer_is_replaced_too(tmp_path: Path) -> None:
    path = tmp_path / "file"
    (tmp_path / ".file").write_text("half of a much longer cont")
    replace_file(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_as_others_make_them(tmp_path: Path) -> None:
    plain, replaced = tmp_path / "plain", tmp_path / "replaced"
    plain.write_text("")
    replace_file(replaced, "")
    assert stat.S_IMODE(replaced.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


@pytest.fixture
def files_of_4096_bytes_at_most() -> Iterator[None]:
    """The kernel itself refuses longer ones; Python ignores the signal that comes with it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("files_of_4096_bytes_at_most")
@pytest.mark.parametrize("durable", [False, True])
def test_a_write_that_the_system_refuses_half_way_leaves_the_old_file(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "file"
    replace_file(path, "old", durable=durable)
    with pytest.raises(OSError, match="too large"):
        replace_file(path, "x" * 10_000, durable=durable)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


FULL_DISK = """
import sys
from pathlib import Path
from supervisor.run_layout import replace_file
path = Path(sys.argv[1]) / "file"
replace_file(path, "old", durable=True)
try:
    replace_file(path, b"x" * (1 << 20), durable=True)
except OSError as error:
    print(error.strerror, path.read_text(), sorted(each.name for each in path.parent.iterdir()))
"""


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    unshared = ["unshare", "--mount", "--map-root-user"]
    possible = subprocess.run([*unshared, *mount], capture_output=True, check=False)
    if possible.returncode != 0:
        pytest.skip("no file system can be mounted here")
    line = f'{" ".join(mount)} && exec "$0" -c "$1" {tmp_path}'
    command = [*unshared, "sh", "-c", line, sys.executable, FULL_DISK]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "No space left on device old ['file']"


@pytest.mark.parametrize("error", [ValueError("cannot be saved"), KeyboardInterrupt()])
def test_a_writer_that_raises_leaves_the_old_file_and_its_error_is_raised(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def write(file: BinaryIO) -> None:
        file.write(b"half of the n")
        raise error

    with pytest.raises(type(error)) as raised:
        replace_file_with(path, write)
    assert raised.value is error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        replace_file(tmp_path / "file" / "below", "new")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no such file system here")
def test_a_file_system_that_knows_no_such_operation_is_no_error(tmp_path: Path) -> None:
    assert sync_folder(tmp_path)
    assert not sync_folder(Path("/proc"))


def test_a_disk_that_refuses_is_one() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    with pytest.raises(OSError, match="Bad file descriptor"):
        sync_file(writing)


def test_a_folder_that_is_not_there_cannot_be_synchronised(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "missing")


def test_a_run_of_a_job_is_told_by_its_job_file(tmp_path: Path) -> None:
    assert not RunLayout(tmp_path).of_job
    (tmp_path / "job.yaml").touch()
    assert RunLayout(tmp_path).of_job


def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="a device or a pipe, no file"):
        replace_file(pipe, "text")
    assert pipe.is_fifo()
    assert [each.name for each in tmp_path.iterdir()] == ["pipe"]
