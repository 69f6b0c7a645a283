"""The action that tries cures asks whoever can, and acts only where it can go back."""

from __future__ import annotations

from typing import Any

from support.recorder import Calls, Recorder

from supervisor.actions import Effect, action_for
from supervisor.actions.base import Context
from supervisor.actions.try_cures import TryCures
from supervisor.policy import TryCuresRung

RUNG = TryCuresRung(steps=3)


def context(calls: Calls, **answers: Any) -> Any:
    return Recorder(Context, "context", calls, **{"any_good_state": True, "no_cures": None, **answers})


def test_it_hands_its_rung_on() -> None:
    calls, effect = Calls(), Effect(closes=True)
    action = action_for(RUNG)
    assert isinstance(action, TryCures)
    assert action.apply(context(calls, try_cures=effect)) is effect
    assert calls.given["context.try_cures"] == [(RUNG,)]


def test_it_needs_a_good_state_and_a_fork() -> None:
    action = TryCures(RUNG)
    assert action.unavailable(context(Calls())) is None
    assert "no good state" in (action.unavailable(context(Calls(), any_good_state=False)) or "")
    assert action.unavailable(context(Calls(), no_cures="no batches")) == "no batches"
    assert action.undoes_update()
