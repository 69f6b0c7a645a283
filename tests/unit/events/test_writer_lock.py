"""At most one guard writes a rank's events, and none is held up by one that is gone."""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.errors import InputError
from supervisor.events import writer_lock
from supervisor.events.owner_file import read_owner
from supervisor.events.writer_lock import WriterLock, refuse_other_supervisor
from supervisor.run_layout import RunLayout

HOLD = """
import sys
from pathlib import Path
from supervisor.events.writer_lock import WriterLock
lock = WriterLock()
lock.claim(Path(sys.argv[1]), "run")
print("held", flush=True)
sys.stdin.read()
"""


def held(path: Path) -> WriterLock:
    lock = WriterLock()
    lock.claim(path, "my run")
    return lock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events" / "rank0.lock"


@pytest.fixture
def other(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds it."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_one_of_this_process_is_refused_until_the_first_lets_go(path: Path) -> None:
    first = held(path)
    for _ in range(2):  # a refusal does not break the lock
        with pytest.raises(InputError, match=r"my run: another Guard of this process has it open: close it first"):
            held(path)
    first.release()
    first.release()
    second = held(path)
    with pytest.raises(InputError):
        first.hold()
    second.release()
    first.hold()
    first.hold()
    first.release()


def test_it_says_whose_it_is_and_is_no_event_file(tmp_path: Path) -> None:
    lock = held(RunLayout(tmp_path).writer)
    owner = read_owner(RunLayout(tmp_path).writer)
    assert owner is not None
    assert owner.pid == os.getpid()
    assert RunLayout(tmp_path).event_files() == []
    lock.release()


def test_one_that_is_forgotten_lets_go(path: Path) -> None:
    held(path)
    gc.collect()
    held(path).release()


def test_another_process_is_waited_for_and_then_refused_by_its_number(
    path: Path, other: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_lock, "PATIENCE_SECONDS", 0.3)
    pauses: list[float] = []
    with pytest.raises(InputError, match=rf"my run: a Guard of process {other.pid} has it open: wait for it to end"):
        WriterLock().claim(path, "my run", pauses.append)
    assert pauses == [0.1, 0.1, 0.1]


def test_a_process_that_dies_meanwhile_is_no_hindrance(path: Path, other: subprocess.Popen[str]) -> None:
    def kill(seconds: float) -> None:
        other.send_signal(signal.SIGKILL)
        other.wait()

    lock = WriterLock()
    lock.claim(path, "my run", kill)
    with pytest.raises(InputError, match="of this process"):
        held(path)
    lock.release()


def test_processes_that_it_forked_do_not_hold_it_any_longer(path: Path) -> None:
    """As the workers of a `DataLoader` that outlive it."""
    script = HOLD.replace("sys.stdin.read()", "import os, signal\nif os.fork() == 0:\n    signal.pause()\nos._exit(0)")
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        process.wait()
        os.killpg(process.pid, 0)  # the child is there
        held(path).release()
        os.killpg(process.pid, signal.SIGKILL)


def test_a_forked_process_does_not_take_it_for_its_own(path: Path) -> None:
    lock = held(path)
    child = os.fork()
    if child == 0:
        code = 3
        try:
            lock.release()
            WriterLock().claim(path, "run")
        except InputError as error:
            code = 0 if f"process {os.getppid()}" in str(error) else 4
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with pytest.raises(InputError, match="of this process"):
        held(path)
    lock.release()


@pytest.mark.parametrize("error", [OSError(22, "Invalid argument"), OSError(37, "No locks available")])
def test_a_file_system_without_locks_refuses_nothing(
    path: Path, error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(fcntl, "lockf", refuses)
    held(path).release()


def test_what_cannot_be_written_is_left_to_who_writes(tmp_path: Path) -> None:
    (tmp_path / "events").write_text("a file")
    held(tmp_path / "events" / "rank0.lock").release()
    WriterLock().hold()


class TestTheSupervisorOfTheDirectory:
    SUPERVISE = """
import sys
from pathlib import Path
from supervisor.process.run_directory import run_lock
with run_lock(Path(sys.argv[1]), "run"):
    print("held", flush=True)
    sys.stdin.read()
"""

    @pytest.fixture
    def supervised(self, tmp_path: Path) -> Iterator[int]:
        command = [sys.executable, "-c", self.SUPERVISE, str(tmp_path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process.pid
            process.kill()

    def test_one_that_is_not_ours_is_refused(self, tmp_path: Path, supervised: int) -> None:
        with pytest.raises(InputError, match=rf"my run: a `supervisor run` \(process {supervised}\) is running it"):
            refuse_other_supervisor(RunLayout(tmp_path).lock, "my run")

    def test_the_one_that_started_us_is_none(
        self, tmp_path: Path, supervised: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "getppid", lambda: supervised)
        refuse_other_supervisor(RunLayout(tmp_path).lock, "my run")

    def test_one_that_is_not_on_record_may_be_ours(self, tmp_path: Path, supervised: int) -> None:
        """As on a full disk, which would else end a run that is resumed."""
        os.truncate(RunLayout(tmp_path).lock, 0)
        refuse_other_supervisor(RunLayout(tmp_path).lock, "my run")

    def test_one_that_is_gone_is_none_either(self, tmp_path: Path) -> None:
        refuse_other_supervisor(RunLayout(tmp_path).lock, "my run")
        RunLayout(tmp_path).lock.write_text("left")
        refuse_other_supervisor(RunLayout(tmp_path).lock, "my run")
