"""The terminal that workers write to, and the thread that reads it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from supervisor.process import output_keeper
from supervisor.process.worker_terminal import WorkerTerminal, hold_signals_back

ASK = "import os, sys; print(os.isatty(1), os.isatty(2), *os.get_terminal_size(1), file=sys.stderr)"


def run(terminal: WorkerTerminal, program: str) -> int:
    command = [sys.executable, "-IS", "-c", program]
    end = terminal.worker_end
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=end, stderr=end, process_group=0, check=False
    ).returncode


def test_a_program_is_on_a_terminal_of_this_size_and_its_bytes_come_as_they_are() -> None:
    told: list[bytes] = []
    with WorkerTerminal((93, 31), told.append) as terminal:
        assert run(terminal, ASK) == 0
        terminal.drain()
        assert b"".join(told).startswith(b"True True 93 31\n")
        terminal.resize((20, 5))
        told.clear()
        run(terminal, ASK)
        terminal.drain()
        assert b"".join(told).startswith(b"True True 20 5\n")


def test_what_was_written_before_an_end_is_all_there_when_it_is_drained() -> None:
    """However much it is, and however it ends."""
    told: list[bytes] = []
    program = "import os, sys\nfor n in range(20_000): print('line', n)\nsys.stdout.flush()\n"
    with WorkerTerminal((80, 24), told.append) as terminal:
        assert run(terminal, program + "os.write(2, b'dying'); os.kill(os.getpid(), 9)") == -signal.SIGKILL
        terminal.drain()
        text = b"".join(told).partition(b"\x1b]")[0].decode()
    assert text == "".join(f"line {number}\n" for number in range(20_000)) + "dying"


def test_a_program_never_waits_for_somebody_who_does_not_listen(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(data: bytes) -> None:
        raise RuntimeError("no such window")

    with WorkerTerminal((80, 24), refuse) as terminal:
        assert run(terminal, "print('x' * 10_000_000)") == 0
        terminal.drain()
    said = "supervisor: what the trainer prints is left out: RuntimeError: no such window\n"
    assert capsys.readouterr().err == said


def test_what_was_left_behind_and_still_writes_is_not_waited_for() -> None:
    told: list[bytes] = []
    helper = "import os, time\nif os.fork() == 0:\n    while True: os.write(1, b'still here\\n')\n"
    with WorkerTerminal((80, 24), told.append) as terminal:
        program = helper + "os.write(1, b'the worker\\n'); os._exit(0)"
        worker = subprocess.Popen(
            [sys.executable, "-IS", "-c", program],
            stdout=terminal.worker_end,
            process_group=0,
            stdin=subprocess.DEVNULL,
        )
        worker.wait()
        terminal.drain()
        assert b"the worker\n" in b"".join(told)
        os.killpg(worker.pid, signal.SIGKILL)


def test_it_is_no_controlling_terminal_so_that_its_end_hangs_nobody_up() -> None:
    program = "import os\ntry:\n    os.open('/dev/tty', os.O_RDWR)\nexcept OSError: pass\n"
    program += "print(os.getpgrp() == os.getpid(), flush=True); os.read(0, 1); os.write(3, b'lives')"
    told: list[bytes] = []
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    with WorkerTerminal((80, 24), told.append) as terminal:
        script = f"import os; os.dup2({write_end}, 3, inheritable=True)\n{program}"
        worker = subprocess.Popen(
            [sys.executable, "-IS", "-c", script],
            stdin=subprocess.PIPE,
            stdout=terminal.worker_end,
            process_group=0,
            pass_fds=[write_end],
        )
        while b"True\n" not in b"".join(told):
            terminal.drain()
    assert worker.stdin is not None
    worker.stdin.write(b"\n")
    worker.stdin.close()
    assert worker.wait() == 0
    assert os.read(read_end, 10) == b"lives"
    os.close(read_end)
    os.close(write_end)


def test_what_another_process_reads_meanwhile_comes_in_its_place() -> None:
    told: list[bytes] = []
    with WorkerTerminal((80, 24), told.append) as terminal:
        for part in range(2):
            assert run(terminal, f"for n in range(4000): print('before', {part}, n)") == 0
            with terminal.read_by_another():
                # More than waits in a terminal without somebody who reads.
                assert run(terminal, f"for n in range(40_000): print('meanwhile', {part}, n)") == 0
        assert run(terminal, "print('after')") == 0
        terminal.drain()
        text = b"".join(told).partition(b"\x1b]")[0].decode()
    parts = [
        [*(f"before {part} {n}" for n in range(4000)), *(f"meanwhile {part} {n}" for n in range(40_000))]
        for part in (0, 1)
    ]
    assert text.splitlines() == [*parts[0], *parts[1], "after"]


def test_where_no_other_process_can_be_had_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_keeper, "COMMAND", ("/nonexistent/program",))
    told: list[bytes] = []
    with WorkerTerminal((80, 24), told.append) as terminal:
        with terminal.read_by_another():
            assert run(terminal, "print('meanwhile')") == 0
        terminal.drain()
    assert b"".join(told).startswith(b"meanwhile\n")


def test_a_thread_leaves_signals_to_the_main_one() -> None:
    held: set[signal.Signals] = set()

    def hold() -> None:
        hold_signals_back()
        held.update(signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    assert {signal.SIGTERM, signal.SIGINT, signal.SIGTTOU, signal.SIGCONT} <= held
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
