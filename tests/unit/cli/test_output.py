"""Where a command's output goes: real pipes and a real full disk behind the standard output of another process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from supervisor.cli.output import reader_may_leave

PRINTS = {
    "text": "sys.stdout.write('line\\n' * 100)",
    "table": "Console().print('line\\n' * 100)",
}


def done(body: str, stdout: int | IO[str]) -> subprocess.CompletedProcess[str]:
    """A process that prints inside the block."""
    script = (
        "import os, sys\nfrom rich.console import Console\n"
        "from supervisor.cli.output import output_on_stderr, reader_may_leave\n"
        f"{body}"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, env=environment)


@pytest.mark.parametrize("kind", PRINTS)
def test_a_reader_that_has_seen_enough_ends_the_block_and_no_more(kind: str) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    body = f"with reader_may_leave():\n    {PRINTS[kind]}\nprint('more')\nsys.stderr.write('went on')"
    ended = done(body, write_end)
    os.close(write_end)
    assert (ended.returncode, ended.stderr) == (0, "went on")


def test_a_full_disk_is_an_error() -> None:
    with Path("/dev/full").open("w") as full:
        ended = done("with reader_may_leave():\n    print('x')", full)
    assert ended.returncode != 0
    assert "No space left on device" in ended.stderr


def test_what_it_and_its_children_print_goes_beside_what_a_machine_reads() -> None:
    body = """
print("before")
with output_on_stderr():
    print("own")
    os.system("echo child")
print("after")
"""
    ended = done(body, subprocess.PIPE)
    assert (ended.returncode, ended.stdout) == (0, "before\nafter\n")
    assert sorted(ended.stderr.split()) == ["child", "own"]


def test_other_failures_pass_through() -> None:
    with pytest.raises(KeyError), reader_may_leave():
        raise KeyError("a bug of ours")
