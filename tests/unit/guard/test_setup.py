"""When the loss of zeros is asked for, and over which updates."""

from __future__ import annotations

from typing import Any

import pytest
from support.training import EventList, Training, build, guard_of, healthy_batches, quiet

from supervisor.guard.setup import ASKED_OVER, SetupCheck
from supervisor.signals.not_learning import AFTER_UPDATES

BATCHES = healthy_batches(16)


class Rising:
    """A training whose loss is multiplied by a factor from its 20th update on, and that counts the calls of it."""

    def __init__(self, factor: float, **options: Any) -> None:
        self.training: Training = build()
        self.calls, self.heard = 0, EventList()
        usual = self.training.loss

        def loss(batch: Any) -> Any:
            self.calls += 1
            return usual(batch) * (factor if self.calls > 20 else 1.0)

        options = {"policy": quiet(reactions={"not_learning": "observe"}), **options}
        self.guard = guard_of(self.training, BATCHES, loss=loss, listeners=[self.heard], **options)

    def run(self, steps: int = 150) -> Rising:
        self.guard.run(steps)
        return self


def test_it_is_asked_once_over_the_updates_that_follow_the_reason() -> None:
    rising = Rising(50.0).run(AFTER_UPDATES + 40)
    assert isinstance(rising.guard.parts.setup, SetupCheck)
    assert rising.calls == AFTER_UPDATES + 40 + ASKED_OVER


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_without_a_reason_it_is_never_asked(factor: float) -> None:
    assert Rising(factor).run().calls == 150


def test_nor_where_nobody_wants_to_know() -> None:
    assert Rising(50.0, policy=quiet(reactions={"not_learning": None})).run().calls == 150
    ladder = [{"action": "skip_batch"}]
    assert Rising(50.0, policy=quiet(ladder=ladder)).run().calls == 150


def test_the_initial_state_is_held_no_longer_than_the_set_up_is_in_question() -> None:
    rising = Rising(1.0)
    curing = rising.guard.parts.setup.curing
    rising.run(10)
    assert curing.initial is not None
    assert curing.initial.step == 0
    rising.run(AFTER_UPDATES + 5)
    assert curing.initial is None
