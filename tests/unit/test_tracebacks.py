"""The exception and the user's line in the text of a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
import torch

import supervisor.tracebacks
from supervisor.tracebacks import crash_in, last_line, raised_at, users_frame

LIBRARY = f"python{sys.version_info.major}.{sys.version_info.minor}"


def test_the_last_line_of_a_traceback():
    assert (last_line("a\nb \n"), last_line(" \n"), last_line(None)) == ("b", None, None)


def test_the_line_is_the_users_where_the_library_raised():
    try:
        torch.zeros(2, 3) @ torch.nn.functional.linear(torch.zeros(2), torch.zeros(4, 5))
    except RuntimeError:
        text = traceback.format_exc()
    found = raised_at(text)
    assert found is not None
    assert found.startswith(f"{__file__}:")
    assert found.endswith(" in test_the_line_is_the_users_where_the_library_raised")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, None),
        ("ValueError: no", None),
        (
            f'  File "/x/lib/{LIBRARY}/re.py", line 3, in match\nV: no',
            f"/x/lib/{LIBRARY}/re.py:3 in match",
        ),
        (f'  File "{supervisor.tracebacks.__file__}", line 3, in raised_at\nV: no', None),
        (
            f'  File "/x/site-packages/torch/a.py", line 2, in get\n  File "{supervisor.tracebacks.__file__}", line 3',
            "/x/site-packages/torch/a.py:2 in get",
        ),
        ('  File "mine.py", line 4\n    x = = 1\nSyntaxError: invalid syntax', "mine.py:4"),
    ],
)
def test_where_all_is_a_librarys_it_is_the_innermost_that_is_not_the_supervisors(text: str | None, said: str | None):
    assert raised_at(text) == said


def test_a_crash_is_read_as_a_traceback_of_the_thread_that_crashed(tmp_path: Path):
    """Of a real one, with a second thread beside it."""
    file = tmp_path / "mine.py"
    file.write_text(
        "import ctypes, faulthandler, sys, threading\n"
        "faulthandler.enable(open(sys.argv[1], 'a'), all_threads=True)\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "def inner():\n"
        "    ctypes.string_at(0)\n"
        "def outer():\n"
        "    inner()\n"
        "outer()\n"
    )
    stacks = tmp_path / "stacks"
    stacks.write_text('Thread 0x1 (most recent call first):\n  File "other.py", line 1 in f\n')
    done = subprocess.run([sys.executable, str(file), str(stacks)], check=False)
    assert done.returncode == -signal.SIGSEGV
    found = crash_in(stacks.read_text())
    assert found is not None
    assert last_line(found) == "Fatal Python error: Segmentation fault"
    assert raised_at(found) == f"{file}:5"


@pytest.mark.parametrize("stacks", [None, "", "Thread 0x1 (most recent call first):\n"])
def test_without_one_there_is_none(stacks: str | None):
    assert crash_in(stacks) is None


def test_one_without_a_python_stack_is_named_alone():
    assert crash_in("Fatal Python error: Aborted\n\n<no Python frame>\n") == "Fatal Python error: Aborted"


def test_a_frame_that_is_installed_is_not_the_users():
    installed = f'  File "/x/lib/{LIBRARY}/re.py", line 3, in match\n'
    assert users_frame(installed + "V: no") is None
    found = users_frame('  File "/x/mine.py", line 7, in loss\n' + installed + "V: no")
    assert found is not None
    assert found.place == "/x/mine.py:7"
