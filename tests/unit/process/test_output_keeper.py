"""What workers print while the process that reads it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile

from supervisor.process.output_keeper import output_kept

KEEP = "from supervisor.process.output_keeper import keep_to; import sys; keep_to(0, 1, int(sys.argv[1]))"


def test_what_is_written_in_the_block_is_in_the_file_and_what_comes_later_is_not() -> None:
    read_end, write_end = os.pipe()
    with output_kept(read_end) as file:
        os.write(write_end, b"meanwhile")
        while os.fstat(file.fileno()).st_size == 0:
            os.sched_yield()
    os.write(write_end, b"later")
    assert file.read() == b"meanwhile"
    assert os.read(read_end, 10) == b"later"
    file.close()
    os.close(read_end)
    os.close(write_end)


def test_more_than_is_kept_is_read_and_said_to_be_left_out() -> None:
    done = subprocess.run([sys.executable, "-c", KEEP, "10"], input=b"x" * 1_000_000, capture_output=True, check=True)
    assert done.stdout == b"x" * 10 + b"\n(999990 bytes of output left out: this was stopped for too long)\n"


def test_it_ends_when_it_is_asked_to_and_has_written_what_it_read() -> None:
    with tempfile.TemporaryFile() as file:
        keeper = subprocess.Popen([sys.executable, "-c", KEEP, "100"], stdin=subprocess.PIPE, stdout=file)
        assert keeper.stdin is not None
        keeper.stdin.write(b"text")
        keeper.stdin.flush()
        while os.fstat(file.fileno()).st_size == 0:
            os.sched_yield()
        keeper.send_signal(signal.SIGTERM)
        assert keeper.wait() == 0
        keeper.stdin.close()
        file.seek(0)
        assert file.read() == b"text"
