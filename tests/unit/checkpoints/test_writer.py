"""Work done beside the caller, one piece after the other, and reported in the caller's thread."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

import pytest
from support.command import PATIENCE_SECONDS

from supervisor.checkpoints import BackgroundWriter
from supervisor.errors import CheckpointError


def test_the_caller_goes_on_meanwhile() -> None:
    writer, gate, seen = BackgroundWriter(), threading.Event(), []
    writer.begin(lambda: gate.wait(PATIENCE_SECONDS), lambda done: seen.append(done.result()))
    writer.settle()
    assert seen == []
    gate.set()
    writer.settle(wait=True)
    assert seen == [True]


def test_one_after_the_other_and_reported_in_order_by_the_caller() -> None:
    writer, running, order = BackgroundWriter(), [], []
    threads: set[str] = set()

    def work(number: int) -> int:
        running.append(number)
        assert len(running) == 1
        running.pop()
        return number

    def report(done: Future[int]) -> None:
        threads.add(threading.current_thread().name)
        order.append(done.result())

    for number in range(50):
        writer.begin(lambda number=number: work(number), report)  # type: ignore[misc]
    writer.settle(wait=True)
    assert order == list(range(50))
    assert threads == {threading.current_thread().name}


def test_what_went_wrong_reaches_the_report() -> None:
    writer, found = BackgroundWriter(), []

    def fail() -> None:
        raise CheckpointError("no space")

    writer.begin(fail, lambda done: found.append(done.exception()))
    writer.begin(lambda: 1, lambda done: found.append(done.result()))
    writer.settle(wait=True)
    assert [str(each) for each in found] == ["no space", "1"]


def test_a_report_that_begins_more_is_waited_for_too() -> None:
    writer, found = BackgroundWriter(), []
    writer.begin(lambda: 1, lambda _: writer.begin(lambda: 2, lambda done: found.append(done.result())))
    writer.settle(wait=True)
    assert found == [2]


def test_a_report_that_raises_loses_no_other() -> None:
    writer, found = BackgroundWriter(), []

    def refuse(done: Future[Any]) -> None:
        raise TypeError("a bug")

    writer.begin(lambda: 1, refuse)
    writer.begin(lambda: 2, lambda done: found.append(done.result()))
    with pytest.raises(TypeError):
        writer.settle(wait=True)
    writer.settle(wait=True)
    assert found == [2]
