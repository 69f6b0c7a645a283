"""SIGTERM and SIGINT, as a worker takes them: real signals to this process."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from supervisor.process.stop_request import StopRequest

NUMBERS = (signal.SIGTERM, signal.SIGINT)


class Run:
    """Counts how often it is asked to end."""

    def __init__(self) -> None:
        self.asked = 0

    def request_stop(self) -> None:
        self.asked += 1


@pytest.fixture(autouse=True)
def _handlers_and_mask_as_before() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in NUMBERS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_reaches_the_run(number: signal.Signals) -> None:
    stop, run = StopRequest(), Run()
    stop.goes_to(run)
    assert run.asked == 0
    signal.raise_signal(number)
    assert run.asked == 1


def test_one_that_came_before_the_run_began_is_passed_on_when_it_does() -> None:
    stop, run = StopRequest(), Run()
    signal.raise_signal(signal.SIGTERM)
    stop.goes_to(run)
    assert run.asked == 1


def test_one_that_came_while_the_interpreter_started_is_not_lost() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)
    signal.raise_signal(signal.SIGTERM)
    stop, run = StopRequest(), Run()
    stop.goes_to(run)
    assert run.asked == 1
    assert not set(NUMBERS) & signal.pthread_sigmask(signal.SIG_BLOCK, ())
