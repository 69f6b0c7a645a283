"""`skip_batch`: nothing but the discarded update."""

from __future__ import annotations

from support.bench import Bench
from support.exact import assert_same

from supervisor.actions import Effect
from supervisor.actions.skip_batch import SkipBatch


def test_it_touches_nothing() -> None:
    held = Bench()
    held.step(2)
    before = held.everything()
    assert SkipBatch().apply(held) == Effect()
    assert_same(held.everything(), before)
    assert held.restores == []


def test_it_can_always_act_and_relies_on_the_update_being_undone() -> None:
    assert SkipBatch().unavailable(Bench()) is None
    assert not SkipBatch().undoes_update()
