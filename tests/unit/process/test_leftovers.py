"""Processes that are left behind, real ones: of a program that ends before what it has started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.process.leftovers import Leftovers

PROGRAM = """
import os, subprocess, sys
from supervisor.process.leftovers import Leftovers, adopt_orphans
adopt_orphans()
mine = subprocess.Popen(["sleep", "1000"])
leftovers = Leftovers()
started = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
left = int(started.stdout.readline())
started.wait()
{then}
"""

LEAVES_ONE = """
import subprocess
left = subprocess.Popen(["sleep", "1000"], start_new_session=True, stdout=subprocess.DEVNULL)
print(left.pid, flush=True)
"""

LEAVES_ONE_THAT_HAS_ENDED = """
import subprocess
left = subprocess.Popen(["true"], start_new_session=True, stdout=subprocess.DEVNULL)
print(left.pid, flush=True)
"""

needs_children = pytest.mark.skipif(
    not Path(f"/proc/self/task/{os.getpid()}/children").exists(), reason="the kernel does not list children"
)


def done(then: str, leaves: str) -> str:
    program = [sys.executable, "-c", PROGRAM.format(then=then), leaves]
    return subprocess.run(program, capture_output=True, text=True, check=True, timeout=100).stdout


@needs_children
def test_one_in_a_session_of_its_own_is_named_and_ended_and_nobody_elses() -> None:
    then = """
print(leftovers.end({started.pid}) == [f"sleep ({left})"], os.path.exists(f"/proc/{left}"), mine.poll())
mine.kill()
"""
    assert done(then, LEAVES_ONE) == "True False None\n"


@needs_children
def test_one_that_has_ended_is_reaped_and_needs_no_word() -> None:
    then = """
while os.path.exists(f"/proc/{left}"):
    leftovers.reap({started.pid})
print(leftovers.end({started.pid}))
mine.kill()
"""
    assert done(then, LEAVES_ONE_THAT_HAS_ENDED) == "[]\n"


@needs_children
def test_what_a_leftover_has_started_itself_goes_with_it() -> None:
    leaves = """
import pathlib, subprocess
script = "setsid sleep 1000 & exec sleep 2000"
left = subprocess.Popen(["sh", "-c", script], start_new_session=True, stdout=subprocess.DEVNULL)
children = pathlib.Path(f"/proc/{left.pid}/task/{left.pid}/children")
while not (inner := children.read_text().split()):
    pass
print(inner[0], flush=True)
"""
    then = """
ended = leftovers.end({started.pid})
print(len(ended), os.path.exists(f"/proc/{left}"))
mine.kill()
"""
    assert done(then, leaves) == "2 False\n"


def test_where_there_is_none_nothing_is_done() -> None:
    leftovers = Leftovers()
    leftovers.reap(())
    assert leftovers.end(()) == []
