"""Any policy, any faults and any evidence about them: what experiments found is never held against the state."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from support.engine_runs import FAULTS, Faults, Run, policies

from supervisor.engine import EngineState, decide
from supervisor.events import schema
from supervisor.events.schema import DecisionEvent, parse_event
from supervisor.evidence import Blame, Evidence
from supervisor.policy import (
    BadData,
    DataAfterReload,
    Experiments,
    HaltRung,
    LowerLrRung,
    RecoveryPolicy,
    ReinitializeRung,
    ReloadCheckpointRung,
    Shift,
    TryCuresRung,
    load_policy,
)
from supervisor.records import ActionName, Decision, Signal
from supervisor.replay import read_recording, replay

EVIDENCE = st.builds(
    Evidence,
    blame=st.sampled_from(Blame),
    why=st.just("found"),
    batches=st.integers(0, 3),
    finite=st.booleans(),
    repeatable=st.booleans(),
    batch=st.none() | st.integers(0, 3),
    shifted=st.booleans(),
)
EVIDENCES = st.lists(st.none() | EVIDENCE, min_size=1, max_size=6)
NOT_THE_STATES = st.lists(st.sampled_from([Blame.DATA, Blame.MACHINE]), min_size=1, max_size=4)


AT_ONCE = Shift(after_updates=1)
"""So that any number of bad batches may be the last."""


@st.composite
def deciding(draw: st.DrawFn, *, skips: bool = False, own_reactions: bool = True) -> RecoveryPolicy:
    """A policy with experiments, of which any number of bad batches may be the last."""
    written = draw(policies()).model_dump(mode="json", exclude={"reactions"} if not own_reactions else None)
    if skips and not any(rung["action"] == "skip_batch" for rung in written["ladder"]):
        written["ladder"].insert(draw(st.integers(0, len(written["ladder"]) - 1)), {"action": "skip_batch"})
    share = draw(st.sampled_from([0.1, 0.5, 1.0]))
    most = 60 if share == 1 else int(20 * share)
    bad = {"in_a_row": draw(st.integers(1, most)), "share": share, "window_updates": 20}
    return load_policy({**written, "experiments": {"bad_data": bad, "shift": {"after_updates": 1}}})


@dataclass(frozen=True)
class Answer:
    """One flagged update: the memory before and after it, what was found, and what was decided."""

    before: EngineState
    evidence: Evidence | None
    decision: Decision
    after: EngineState

    @property
    def excused(self) -> bool:
        """Whether the decision spent nothing of its incident."""
        earlier = 0 if self.before.incident is None else self.before.incident.excused
        return self.after.incident is not None and self.after.incident.excused > earlier


@dataclass
class Judged(Run):
    """A run whose flagged updates come with evidence, one after the other and from the start again."""

    evidences: tuple[Evidence | None, ...] = ()
    answers: list[Answer] = field(default_factory=list)

    def evidence(self) -> Evidence | None:
        return self.evidences[len(self.answers) % len(self.evidences)] if self.evidences else None

    def flagged(self, signals: tuple[Signal, ...]) -> None:
        before, evidence = self.state, self.evidence()
        self.state, decision = decide(before, signals, self.policy, evidence=evidence)
        answer = Answer(before, evidence, decision, self.state)
        self.answers.append(answer)
        self.decisions.append(decision)
        at = {"step": self.step, "update": self.updates - 1}
        self.say(DecisionEvent.from_decision(decision, **at, evidence=evidence))
        self.state = self.remember(self.state)
        rung = self.policy.ladder[decision.rung]
        if isinstance(rung, LowerLrRung):
            self.cuts.append([rung.factor, rung.restore_after_steps, decision.incident, decision.rung])
        if before.incident is None or not answer.excused:
            # A bad batch does not begin the cool-down of an open incident anew.
            self.in_a_row = 0
        if not answer.excused:
            for state in self.waiting:
                state.healthy = 0
        back = isinstance(rung, ReloadCheckpointRung | ReinitializeRung | TryCuresRung)
        if isinstance(rung, HaltRung):
            self.halted = True
        elif back:
            again = isinstance(rung, ReloadCheckpointRung) and rung.data is DataAfterReload.REPLAY
            self.go_back(decision.rung, again, None)
        else:
            self.step += 1
        self.say(
            schema.ActionAppliedEvent(
                step=at["step"],
                update=at["update"],
                incident=decision.incident,
                action=decision.action,
                seconds=0.0,
                restored_step=self.step if back else None,
                replayed_batches=max(0, self.replay_until - self.batch) if back else 0,
            )
        )


def judged(policy: RecoveryPolicy, faults: Faults, steps: int, evidences: list[Evidence | None]) -> Judged:
    run = Judged(policy, faults, steps, evidences=tuple(evidences))
    run.finish()
    return run


@given(deciding(), FAULTS, st.integers(1, 40), EVIDENCES)
def test_any_run_finishes_or_halts(
    policy: RecoveryPolicy, faults: Faults, steps: int, evidences: list[Evidence | None]
) -> None:
    run = judged(policy, faults, steps, evidences)
    assert run.halted or run.step == steps
    assert [d.action for d in run.decisions].count(ActionName.HALT) == int(run.halted)


@given(deciding(skips=True, own_reactions=False), FAULTS, st.integers(1, 40), EVIDENCES)
def test_bad_data_spend_neither_attempts_nor_limits(
    policy: RecoveryPolicy, faults: Faults, steps: int, evidences: list[Evidence | None]
) -> None:
    for answer in judged(policy, faults, steps, evidences).answers:
        if answer.evidence is None or answer.evidence.blame is not Blame.DATA:
            continue
        before, after, decision = answer.before, answer.after, answer.decision
        assert (after.uses, after.cuts, after.restores) == (before.uses, before.cuts, before.restores)
        if decision.action is ActionName.HALT:
            assert decision.in_place
            continue
        assert decision.action is ActionName.SKIP_BATCH
        assert after.incident is not None
        if before.incident is None:
            assert set(after.incident.attempts) == {0}
        else:
            assert (after.incident.attempts, after.incident.rung) == (before.incident.attempts, before.incident.rung)
            assert after.incident.healthy_steps == before.incident.healthy_steps


@given(deciding(skips=True, own_reactions=False), FAULTS, st.integers(1, 40), NOT_THE_STATES)
def test_a_sound_run_within_what_is_allowed_is_never_halted_and_never_goes_back(
    policy: RecoveryPolicy, faults: Faults, steps: int, blames: list[Blame]
) -> None:
    allowed = Experiments(bad_data=BadData(in_a_row=steps, share=1.0, window_updates=steps), shift=AT_ONCE)
    policy = policy.model_copy(update={"experiments": allowed})
    # Each batch has a number of its own: one that comes again and fails again is no longer the machine's.
    evidences = [Evidence(blames[number % len(blames)], "found", batch=number) for number in range(steps)]
    run = judged(policy, faults, steps, [*evidences])
    assert not run.halted
    assert (run.step, run.restores) == (steps, 0)
    assert {decision.action for decision in run.decisions} <= {ActionName.SKIP_BATCH}
    assert run.state.lr_scale == 1.0


@given(deciding(skips=True, own_reactions=False), FAULTS, st.integers(1, 40), st.integers(1, 8))
def test_one_bad_batch_more_than_may_come_in_a_row_halts_in_place(
    policy: RecoveryPolicy, faults: Faults, steps: int, in_a_row: int
) -> None:
    allowed = Experiments(bad_data=BadData(in_a_row=in_a_row, share=1.0, window_updates=200), shift=AT_ONCE)
    policy = policy.model_copy(update={"experiments": allowed})
    run = judged(policy, faults, steps, [Evidence(Blame.DATA, "found")])
    longest = max((answer.after.bad.in_a_row for answer in run.answers), default=0)
    assert run.halted == (longest > in_a_row)
    assert longest <= in_a_row + 1
    assert all(decision.in_place for decision in run.decisions if decision.action is ActionName.HALT)
    assert run.restores == 0


@given(deciding(skips=True), FAULTS, st.integers(1, 40))
def test_finite_numbers_of_which_nothing_is_known_neither_redraw_nor_halt(
    policy: RecoveryPolicy, faults: Faults, steps: int
) -> None:
    run = judged(policy, faults, steps, [Evidence(Blame.UNKNOWN, "nothing to try", finite=True)])
    assert not {d.action for d in run.decisions} & {ActionName.REINITIALIZE, ActionName.HALT}
    assert run.step == steps


@given(deciding(skips=True), FAULTS, st.integers(1, 40), EVIDENCES)
def test_a_program_at_fault_halts_at_once_where_it_stands(
    policy: RecoveryPolicy, faults: Faults, steps: int, evidences: list[Evidence | None]
) -> None:
    for answer in judged(policy, faults, steps, evidences).answers:
        if answer.evidence is not None and answer.evidence.blame is Blame.CODE:
            assert (answer.decision.action, answer.decision.in_place) == (ActionName.HALT, True)


@given(deciding(), FAULTS, st.integers(1, 40), EVIDENCES)
def test_the_memory_can_be_written_down_and_read_back_after_any_update(
    policy: RecoveryPolicy, faults: Faults, steps: int, evidences: list[Evidence | None]
) -> None:
    def through_json(state: EngineState) -> EngineState:
        back = EngineState.from_plain(json.loads(json.dumps(state.to_plain())))
        assert back == state
        return back

    unbroken = judged(policy, faults, steps, evidences)
    broken = Judged(policy, faults, steps, remember=through_json, evidences=tuple(evidences))
    broken.finish()
    assert broken.decisions == unbroken.decisions
    assert broken.state == unbroken.state


@given(deciding(), FAULTS, st.integers(1, 40), EVIDENCES)
def test_every_decision_comes_out_as_it_was_when_it_is_decided_again(
    policy: RecoveryPolicy, faults: Faults, steps: int, evidences: list[Evidence | None]
) -> None:
    run = judged(policy, faults, steps, evidences)
    lines = [event.model_copy(update={"run_id": "r"}).model_dump_json(by_alias=True) for event in run.events]
    again = replay(read_recording(parse_event(line) for line in lines), policy, policy)
    assert [decision for each in again.comparisons for decision in each.replayed] == run.decisions
    assert again.parting is None
    assert (again.halted_at is not None) == run.halted
