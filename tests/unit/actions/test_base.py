"""What holds of every action, and which rung gets which."""

from __future__ import annotations

from typing import Any

import pytest
from support.bench import Bench, bench
from support.exact import assert_same

from supervisor.actions import Action, Effect, Restored, action_for
from supervisor.actions.going_back import Halt, Reinitialize, ReloadCheckpoint
from supervisor.policy import HaltRung, LowerLrRung, ReinitializeRung, ReloadCheckpointRung, SkipBatchRung

GOES_BACK = {ReloadCheckpoint, Reinitialize, Halt}
RUNGS: list[tuple[Any, type]] = [
    (SkipBatchRung(), Action),
    (LowerLrRung(), Action),
    (ReloadCheckpointRung(), ReloadCheckpoint),
    (ReinitializeRung(), Reinitialize),
    (HaltRung(), Halt),
]


@pytest.mark.parametrize(("rung", "kind"), RUNGS, ids=lambda value: getattr(value, "__name__", ""))
class TestEveryAction:
    def test_is_found_by_its_rung(self, rung: Any, kind: type) -> None:
        assert type(action_for(rung)) is kind

    def test_can_act_where_there_is_a_good_state_and_says_what_it_restored(self, rung: Any, kind: type) -> None:
        held = bench()
        action = action_for(rung)
        assert action.unavailable(held) is None
        restored = action.apply(held).restored
        assert restored == (Restored(7, "memory") if kind in GOES_BACK else None)

    def test_undoes_an_applied_update_just_where_it_goes_back(self, rung: Any, kind: type) -> None:
        assert action_for(rung).undoes_update() is (kind in GOES_BACK)

    def test_that_needs_a_good_state_says_so_where_there_is_none(self, rung: Any, kind: type) -> None:
        why = "there is no good state to go back to" if kind in (ReloadCheckpoint, Reinitialize) else None
        assert action_for(rung).unavailable(Bench()) == why


def test_an_effect_is_nothing_until_it_says_otherwise() -> None:
    assert Effect() == Effect(restored=None, modules=())
    assert Restored(3, "disk").replayed_batches == 0


def test_the_one_that_only_drops_the_batch_touches_nothing() -> None:
    held = Bench()
    held.step(2)
    before = held.everything()
    assert Action().unavailable(held) is None
    assert Action().apply(held) == Effect()
    assert_same(held.everything(), before)
    assert held.restores == []
