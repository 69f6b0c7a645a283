"""One diagnosis within its bounds, after which the run is what it was."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import pytest
from support.exact import assert_same
from support.parts import BATCHES, Parts, is_healthy
from torch import Tensor

from supervisor.diagnosis import Bounds, Diagnosis, diagnose
from supervisor.records import CauseKind
from supervisor.testing.clock import FakeClock
from supervisor.testing.tiny import with_nan
from supervisor.training.tree import clone


class Loss:
    """NaN always; from the second call on, which are replays, it does something first."""

    def __init__(self, then: Callable[[], object]) -> None:
        self.plain = Parts.of()
        self.then = then
        self.calls = 0

    def __call__(self, batch: Any) -> Tensor:
        self.calls += 1
        if self.calls > 1:
            self.then()
        return self.plain.loss(batch) * math.nan


def nothing() -> None:
    return


def found_by(parts: Parts, *batches: Any, bounds: Bounds | None = None, clock: FakeClock | None = None) -> Diagnosis:
    attempt = parts.flagged(*batches)
    return diagnose(
        attempt,
        parts.subject,
        parts.executor,
        is_healthy,
        bounds=bounds or Bounds(50, 60.0),
        batch_number=17,
        clock=clock or FakeClock(),
    )


def always_nan(then: Callable[[], object] = nothing) -> Parts:
    loss = Loss(then)
    return Parts.of(loss.plain.model, loss)


def test_the_cause_says_how_often_the_step_was_run_again_how_long_it_took_and_which_batch_it_was() -> None:
    clock = FakeClock()
    parts = always_nan(lambda: clock.advance(0.5))
    found = found_by(parts, BATCHES[0], clock=clock)
    assert found.cause is not None
    assert found.failure is None
    assert (found.cause.kind, found.cause.batch_number, found.cause.step) == (CauseKind.LOSS_FUNCTION, 17, 3)
    assert found.cause.replays == found.replays > 1
    assert found.cause.seconds == 0.5 * found.replays


def raises(error: BaseException) -> Callable[[], object]:
    def then() -> None:
        raise error

    return then


def hangs() -> None:
    while True:
        pass


@pytest.mark.parametrize(
    ("then", "seconds", "said"),
    [
        (raises(ValueError("not twice")), 60.0, "a replay raised ValueError: not twice"),
        (raises(MemoryError()), 60.0, "a replay raised MemoryError"),
        (hangs, 0.05, "it took longer than its 0.05 s"),
    ],
    ids=["raises", "memory", "hangs"],
)
def test_a_failure_is_said_and_no_error(then: Callable[[], object], seconds: float, said: str) -> None:
    found = found_by(always_nan(then), BATCHES[0], bounds=Bounds(50, seconds))
    assert found == Diagnosis(None, said, replays=1)


def test_the_time_is_that_of_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to: list[float] = []

    class Timer(threading.Timer):
        def start(self) -> None:
            set_to.append(self.interval)
            super().start()

    monkeypatch.setattr(threading, "Timer", Timer)
    found_by(always_nan(), BATCHES[0], bounds=Bounds(50, 45.5))
    assert set_to == [45.5]


def test_an_exception_without_a_text_is_called_by_its_name() -> None:
    parts = Parts.of()

    def judges(seen: object) -> bool:
        raise KeyError

    attempt = parts.flagged(BATCHES[0])
    found = diagnose(
        attempt, parts.subject, parts.executor, judges, bounds=Bounds(9, 60.0), batch_number=None, clock=FakeClock()
    )
    assert found == Diagnosis(None, "KeyError", replays=1)


def test_so_many_replays_and_no_more() -> None:
    found = found_by(always_nan(), BATCHES[0], bounds=Bounds(1, 60.0))
    assert found == Diagnosis(None, "the replays that `diagnose: max_replays` allows an incident are spent", replays=1)


def test_where_no_step_can_be_run_again_it_says_why() -> None:
    found = found_by(Parts.of(replayed=False), with_nan(BATCHES[0]))
    assert found.cause is None
    assert "no loss function that it may call again" in str(found.failure)
    assert found.replays == 0


@pytest.mark.parametrize("then", [nothing, raises(ValueError("not twice"))], ids=["well", "badly"])
def test_it_leaves_no_trace(then: Callable[[], object]) -> None:
    parts = always_nan(then)
    attempt = parts.flagged(BATCHES[0])
    before = clone(parts.model.state_dict())
    diagnose(
        attempt,
        parts.subject,
        parts.executor,
        is_healthy,
        bounds=Bounds(50, 60.0),
        batch_number=None,
        clock=FakeClock(),
    )
    assert_same(parts.model.state_dict(), before)
    assert parts.gradients() == {}


def test_a_stop_order_passes_through_and_leaves_none_either() -> None:
    parts = always_nan(raises(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        found_by(parts, BATCHES[0])
    assert parts.gradients() == {}
