"""A time limit for code that nobody here has written; the tests decide when the time has passed."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from support.command import PATIENCE_SECONDS

from supervisor.diagnosis.diagnose import Overrun, time_limit


class Timer:
    """Stands for `threading.Timer`: its time has passed when a test says so.

    Attributes:
        seconds: what it was set to.
        daemon: as of a thread.
        started, cancelled: what became of it.
    """

    def __init__(self, seconds: float, function: Callable[[], None]) -> None:
        self.seconds = seconds
        self.daemon = False
        self.started = self.cancelled = False
        self.rings = function
        made.append(self)

    def start(self) -> None:
        self.started = True

    def cancel(self) -> None:
        self.cancelled = True

    def ring_in_a_thread(self) -> None:
        """As a real one does; back when it has rung."""
        thread = threading.Thread(target=self.rings)
        thread.start()
        thread.join()


made: list[Timer] = []


@pytest.fixture(autouse=True)
def _timers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    made.clear()
    monkeypatch.setattr(threading, "Timer", Timer)
    yield
    made.clear()


def works() -> int:
    """Python code in which what was ordered is raised, if anything was."""
    return sum(1 for _ in range(10_000))


def test_what_is_done_in_time_is_left_alone() -> None:
    with time_limit(2.5):
        done = works()
    (timer,) = made
    assert (done, timer.seconds) == (10_000, 2.5)
    # A limit of an hour must not keep a process that has ended.
    assert timer.started
    assert timer.daemon
    assert timer.cancelled


def test_what_takes_longer_is_interrupted_in_the_midst() -> None:
    reached = []

    def too_long() -> None:
        made[0].ring_in_a_thread()
        works()
        reached.append("the end")

    with pytest.raises(Overrun), time_limit(1.0):
        too_long()
    assert reached == []
    assert made[0].cancelled


def test_no_except_of_the_users_swallows_it() -> None:
    def stubborn() -> None:
        try:
            made[0].ring_in_a_thread()
            works()
        except Exception as error:
            raise AssertionError("swallowed") from error

    with pytest.raises(Overrun), time_limit(1.0):
        stubborn()


def test_it_rings_once() -> None:
    done = []

    def twice() -> None:
        try:
            made[0].ring_in_a_thread()
            works()
        finally:
            made[0].ring_in_a_thread()
            done.append(works())

    with pytest.raises(Overrun), time_limit(1.0):
        twice()
    assert done == [10_000]


def test_nothing_is_raised_once_the_block_was_left() -> None:
    with time_limit(1.0):
        pass
    made[0].ring_in_a_thread()
    assert works() == 10_000


def test_what_was_ordered_and_not_raised_yet_is_taken_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It rings in the last moment of the block: between the order and the next line of the thread that it is for."""
    ordered: list[object] = []

    class Api:
        """Keeps the first order back."""

        @staticmethod
        def PyThreadState_SetAsyncExc(thread: object, what: object) -> int:
            ordered.append(what)
            return 1 if len(ordered) == 1 else ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, what)

    class Ctypes:
        pythonapi = Api
        c_ulong = ctypes.c_ulong
        py_object = ctypes.py_object

    monkeypatch.setattr(sys.modules["supervisor.diagnosis.diagnose"], "ctypes", Ctypes)
    with time_limit(1.0):
        made[0].ring_in_a_thread()
    assert len(ordered) == 2
    assert works() == 10_000


@pytest.mark.parametrize("watch", ["settrace", "setprofile"])
@pytest.mark.parametrize("late", [False, True], ids=["in time", "too late"])
def test_a_program_under_a_profiler_or_a_tracer_goes_on(watch: str, late: bool) -> None:
    """In a process of its own, since one that stands still there cannot be interrupted from within."""
    script = (
        "import contextlib, sys\n"
        "from supervisor.diagnosis.diagnose import Overrun, time_limit\n"
        f"sys.{watch}(lambda *_: None)\n"
        f"with contextlib.suppress(Overrun), time_limit({0.01 if late else 3600}):\n"
        f"    while {late}: pass\n"
        "def call(): print('went on')\n"
        "call()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )
    assert (done.stdout, done.stderr) == ("went on\n", "")


def test_it_is_the_thread_of_the_block_that_is_interrupted() -> None:
    ended: list[str] = []

    def limited() -> None:
        try:
            with time_limit(1.0):
                made[0].rings()
                works()
        except Overrun:
            ended.append("there")

    thread = threading.Thread(target=limited)
    thread.start()
    thread.join()
    assert (ended, works()) == (["there"], 10_000)


def test_an_exception_of_the_block_passes_through() -> None:
    with pytest.raises(KeyError), time_limit(1.0):
        raise KeyError
    assert made[0].cancelled
