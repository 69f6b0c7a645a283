"""`reload_checkpoint`: the newest good state is back, and what becomes of the data is handed on."""

from __future__ import annotations

import pytest
from support.bench import Bench, bench

from supervisor.actions import Effect, Restored
from supervisor.actions.reload_checkpoint import ReloadCheckpoint
from supervisor.errors import ActionError
from supervisor.policy import DataAfterReload, ReloadCheckpointRung


@pytest.mark.parametrize("data", list(DataAfterReload))
def test_it_restores_the_good_state_and_hands_on_what_becomes_of_the_data(data: DataAfterReload) -> None:
    held = bench()
    action = ReloadCheckpoint(ReloadCheckpointRung(data=data))
    assert action.unavailable(held) is None
    assert action.undoes_update()
    assert action.apply(held) == Effect(restored=Restored(7, "memory"))
    assert held.restores == [data]


def test_it_cannot_act_without_a_good_state() -> None:
    assert ReloadCheckpoint(ReloadCheckpointRung()).unavailable(Bench()) == "there is no good state to go back to"


def test_replay_needs_data_that_can_go_back() -> None:
    held = bench()
    held.data_can_go_back = False
    why = ReloadCheckpoint(ReloadCheckpointRung(data=DataAfterReload.REPLAY)).unavailable(held)
    assert why is not None
    assert "write `data: advance`" in why
    assert ReloadCheckpoint(ReloadCheckpointRung()).unavailable(held) is None


def test_a_state_that_cannot_be_restored_is_an_error() -> None:
    with pytest.raises(ActionError):
        ReloadCheckpoint(ReloadCheckpointRung()).apply(Bench())
