"""When Ctrl-C comes: real signals."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from supervisor.guard.interrupts import Interrupts, held_back


@pytest.fixture(autouse=True)
def _handler_as_before() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Work:
    def __init__(self) -> None:
        self.interrupts = Interrupts()
        self.done: list[int] = []

    @held_back
    def inner(self, number: int) -> int:
        signal.raise_signal(signal.SIGINT)
        self.done.append(number)
        return number

    @held_back
    def outer(self, number: int) -> int:
        self.done.append(self.inner(number) + 1)
        return number


def test_it_comes_when_the_outermost_is_done() -> None:
    work = Work()
    work.interrupts.listen()
    with pytest.raises(KeyboardInterrupt):
        work.outer(number=1)
    assert work.done == [1, 2]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_second_one_comes_at_once() -> None:
    work = Work()
    work.interrupts.listen()
    work.interrupts.hold()
    assert work.inner(1) == 1
    with pytest.raises(KeyboardInterrupt):
        work.inner(2)
    assert work.done == [1]
    work.interrupts.release()


def test_one_that_was_held_back_comes_when_nobody_listens_any_more() -> None:
    work = Work()
    work.interrupts.listen()
    work.interrupts.hold()
    work.interrupts.hold()
    work.inner(1)
    with pytest.raises(KeyboardInterrupt):
        work.interrupts.leave()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    work.interrupts.leave()


def test_without_listening_and_with_a_handler_of_ones_own_nothing_is_held_back() -> None:
    work, heard = Work(), []
    with pytest.raises(KeyboardInterrupt):
        work.inner(1)
    mine = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    assert mine is signal.default_int_handler
    work.interrupts.listen()
    assert work.inner(2) == 2
    work.interrupts.leave()
    assert heard == [signal.SIGINT]
    assert work.done == [2]
