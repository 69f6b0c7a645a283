"""Any policy against any faults: the ladder keeps its promises, and the run ends."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from support.engine_runs import FAULTS, FLAGGING, Faults, Run, policies

from supervisor.engine import EngineState
from supervisor.policy import RecoveryPolicy
from supervisor.records import ActionName, SignalName


@given(policies(), FAULTS, st.integers(1, 40))
def test_any_run_finishes_or_halts_within_its_limits(policy: RecoveryPolicy, faults: Faults, steps: int) -> None:
    run = Run(policy, faults, steps).finish()
    assert run.halted or run.step == steps
    assert run.halted == bool(run.decisions and run.decisions[-1].action is ActionName.HALT)
    assert sum(d.action is ActionName.HALT for d in run.decisions) == int(run.halted)


@given(policies(), st.sampled_from(FLAGGING), st.integers(1, 30))
def test_a_fault_that_never_ends_is_met_with_the_whole_ladder(
    policy: RecoveryPolicy, name: SignalName, steps: int
) -> None:
    faults = Faults(((name,),), (), (), frozenset())
    run = Run(policy, faults, steps).finish()
    if policy.observes(name):
        assert not run.decisions
        assert run.step == steps
    else:
        assert run.state.incidents == 1
        assert run.state.incident is not None
        assert run.halted or len(run.decisions) >= steps


@given(policies(), FAULTS, st.integers(1, 40))
def test_the_memory_can_be_written_down_and_read_back_after_any_update(
    policy: RecoveryPolicy, faults: Faults, steps: int
) -> None:
    def through_json(state: EngineState) -> EngineState:
        back = EngineState.from_plain(json.loads(json.dumps(state.to_plain())))
        assert back == state
        return back

    unbroken = Run(policy, faults, steps).finish()
    broken = Run(policy, faults, steps, remember=through_json).finish()
    assert broken.decisions == unbroken.decisions
    assert broken.state == unbroken.state


@given(policies(), FAULTS, st.integers(1, 40))
def test_the_same_signals_give_the_same_decisions(policy: RecoveryPolicy, faults: Faults, steps: int) -> None:
    first, second = Run(policy, faults, steps).finish(), Run(policy, faults, steps).finish()
    assert first.decisions == second.decisions
    assert first.state == second.state
    assert hash(first.state) == hash(second.state)
