"""`halt`: the newest good state is left, and it never fails."""

from __future__ import annotations

import pytest
import torch
from support.bench import Bench, bench

from supervisor.actions import Effect, Restored
from supervisor.actions.halt import Halt
from supervisor.policy import DataAfterReload


def test_it_leaves_the_good_state() -> None:
    held = bench()
    assert Halt().unavailable(held) is None
    assert Halt().apply(held).restored == Restored(7, "memory")
    assert all(torch.isfinite(p).all() for p in held.model.parameters())


def test_it_never_fails() -> None:
    held = Bench()
    assert Halt().apply(held) == Effect()
    assert held.restores == []

    class Torn(Bench):
        any_good_state = True  # type: ignore[assignment]

    assert Halt().apply(Torn()) == Effect()


def test_it_undoes_the_update_and_goes_on_with_the_data() -> None:
    held = bench()
    assert Halt().undoes_update()
    Halt().apply(held)
    assert held.restores == [DataAfterReload.ADVANCE]


@pytest.mark.parametrize("error", [ValueError, KeyError, RuntimeError])
def test_a_state_of_the_users_that_refuses_in_its_own_way_does_not_stop_it(error: type[Exception]) -> None:
    class Refusing(Bench):
        any_good_state = True  # type: ignore[assignment]

        def restore_good_state(self, data: DataAfterReload) -> Restored:
            raise error("no")

    assert Halt().apply(Refusing()) == Effect()
