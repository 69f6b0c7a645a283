"""Runs without tensors: any policy against any faults, through the real engine, with an account of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from supervisor.engine import EngineState, advance, decide, reject, restored
from supervisor.events import Event, schema
from supervisor.events.schema import DecisionEvent
from supervisor.policy import (
    SETUP_SIGNALS,
    DataAfterReload,
    HaltRung,
    LowerLrRung,
    Reactions,
    RecoveryPolicy,
    ReinitializeRung,
    ReloadCheckpointRung,
    TryCuresRung,
    load_policy,
)
from supervisor.records import ActionName, Cause, CauseKind, Decision, Signal, SignalName

GOES_BACK = (ReloadCheckpointRung, ReinitializeRung, TryCuresRung)
FLAGGING = [name for name in SignalName if name not in SETUP_SIGNALS and name.value in Reactions.model_fields]
"""What the model of the ladder knows. Findings about the set-up have tests of their own."""

NOT_THE_RATE = {CauseKind.BAD_INPUT, CauseKind.EXCEPTION, CauseKind.HIDDEN_STATE, CauseKind.NOT_REPRODUCIBLE}
OBSERVABLE = {"loss_spike", "gradient_spike", "divergence", "sanitized_values"}


@st.composite
def policies(draw: st.DrawFn) -> RecoveryPolicy:
    rungs: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(0, 5))):
        action = draw(
            st.sampled_from([a.value for a in ActionName if a not in (ActionName.HALT, ActionName.TRY_CURES)])
        )
        window = draw(st.sampled_from([1, 2, 4, 8, 40]))
        limit: dict[str, int] | None = {"uses": draw(st.integers(1, min(4, window))), "window_updates": window}
        rung: dict[str, Any] = {"action": action, "attempts": draw(st.integers(1, 4))}
        if action in ("skip_batch", "lower_lr") and draw(st.booleans()):
            limit = None
        if action == "lower_lr":
            rung |= {"factor": draw(st.sampled_from([0.1, 0.5, 0.9])), "restore_after_steps": draw(st.integers(1, 30))}
        if action == "reload_checkpoint":
            rung["data"] = draw(st.sampled_from([each.value for each in DataAfterReload]))
            rung |= {
                "retry_factor": draw(st.sampled_from([None, 0.1, 0.5])),
                "restore_after_steps": draw(st.integers(1, 30)),
            }
        rungs.append({**rung, "limit": limit})
    actions = sorted({rung["action"] for rung in rungs} | {"halt"})
    reactions = {}
    for name in FLAGGING:
        allowed = [None, *actions, *(["observe"] if name.value in OBSERVABLE else [])]
        reactions[name.value] = draw(st.sampled_from(allowed))
    for kind in CauseKind:
        again = ["retry"] if kind is CauseKind.NOT_REPRODUCIBLE else []
        reactions[kind.value] = draw(st.sampled_from([None, *actions, *again]))
    return load_policy(
        {
            "ladder": [*rungs, {"action": "halt"}],
            "reactions": reactions,
            "cooldown_steps": draw(st.sampled_from([1, 2, 3, 6])),
            "probation_steps": draw(st.sampled_from([0, 1, 5, 1000])),
            "snapshot": {"every_steps": draw(st.integers(1, 6))},
        }
    )


@dataclass(frozen=True)
class Faults:
    """What goes wrong: by update, by batch (so that it comes again when the data do), and which actions fail."""

    by_update: tuple[tuple[SignalName, ...], ...]
    by_batch: tuple[tuple[SignalName, ...], ...]
    failing: tuple[bool, ...]
    blocked: frozenset[int]
    causes: tuple[CauseKind | None, ...] = ()
    can_retry: tuple[bool, ...] = ()

    def signals(self, update: int, batch: int) -> tuple[Signal, ...]:
        names = {*_cycled(self.by_update, update, ()), *_cycled(self.by_batch, batch, ())}
        return tuple(Signal(name) for name in SignalName if name in names)

    def cause(self, update: int) -> CauseKind | None:
        kind: CauseKind | None = _cycled(self.causes, update, None)
        return kind

    def fails(self, attempt: int) -> bool:
        return bool(_cycled(self.failing, attempt, False))


def _cycled(pattern: tuple[Any, ...], index: int, default: Any) -> Any:
    return pattern[index % len(pattern)] if pattern else default


SIGNALS = st.lists(st.sampled_from(FLAGGING), min_size=1, max_size=3).map(tuple)
# Bursts of flagged updates and quiet stretches, so that incidents open, climb and close.
PATTERN = st.lists(st.tuples(st.lists(SIGNALS, max_size=6), st.integers(0, 8)), max_size=4).map(
    lambda parts: tuple(names for burst, quiet in parts for names in (*burst, *((),) * quiet))
)
FAULTS = st.builds(
    Faults,
    by_update=PATTERN,
    by_batch=PATTERN,
    failing=st.lists(st.booleans(), max_size=4).map(tuple),
    blocked=st.frozensets(st.integers(0, 5), max_size=2),
    causes=st.lists(st.none() | st.sampled_from(CauseKind), max_size=5).map(tuple),
    can_retry=st.lists(st.booleans(), max_size=3).map(tuple),
)


@dataclass
class Good:
    """A state a reload can go back to."""

    step: int
    batch: int
    healthy: int = 0


@dataclass
class Run:
    """A training loop without tensors: what the guard does with the engine, and nothing else.

    `remember` passes the engine's memory on from one transition to the next.
    """

    policy: RecoveryPolicy
    faults: Faults
    steps: int
    remember: Callable[[EngineState], EngineState] = lambda state: state
    state: EngineState = field(default_factory=EngineState)
    step: int = 0
    batch: int = 0
    replay_until: int = 0
    updates: int = 0
    decisions: list[Decision] = field(default_factory=list)
    halted: bool = False
    # An account of its own, kept beside the engine's.
    cuts: list[list[float]] = field(default_factory=list)
    uses: dict[int, list[int]] = field(default_factory=dict)
    # By incident and rung: an action that failed has spent its rung. By incident: cures failed, and a reload followed.
    spent: set[tuple[int, int]] = field(default_factory=set)
    lowered: set[int] = field(default_factory=set)
    clock: int = 0
    furthest: int = -1
    back: dict[int, int] = field(default_factory=dict)
    restores: int = 0
    in_a_row: int = 0
    healthy_since_back: int = 0
    # What a guard would have logged, for the tests of what reads it.
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.good = [Good(0, 0)]
        self.waiting: list[Good] = []

    def finish(self) -> Run:
        while self.step < self.steps and not self.halted:
            self.one_update()
            self.check_bounds()
        self.say(schema.WarningEvent(step=self.step, update=self.updates - 1, message="the last update"))
        return self

    def one_update(self) -> None:
        self.batch += 1
        replayed = self.batch <= self.replay_until
        self.updates += 1
        if not replayed:
            self.clock += 1
            self.state = self.state.tick()
        signals = self.faults.signals(self.updates, self.batch)
        at = {"step": self.step, "update": self.updates - 1, "rank": 0}
        self.events += [schema.SignalEvent(**at, signal=signal.name) for signal in signals]
        if any(not self.policy.observes(signal.name) for signal in signals):
            self.flagged(signals)
        else:
            self.step += 1
            if not replayed:
                self.healthy()
        if not self.halted and self.step % self.policy.snapshot.every_steps == 0:
            self.waiting.append(Good(self.step, self.batch))
            self.promote()

    def flagged(self, signals: tuple[Signal, ...]) -> None:
        blocked = dict.fromkeys(self.faults.blocked, "blocked")
        at: dict[str, Any] = {"step": self.step, "update": self.updates - 1}
        cause = self.faults.cause(self.updates)
        can_retry = bool(_cycled(self.faults.can_retry, self.updates, False))
        lowest = max(self.policy.reaction_rung(s.name) for s in signals if not self.policy.observes(s.name))
        lowest = lowest if cause is None else max(lowest, self.policy.reaction_rung(cause))
        incident = self.state.incident
        start = lowest if incident is None else max(lowest, incident.rung)
        before = self.state
        self.state, decision = decide(
            self.state, signals, self.policy, blocked=blocked, cause=cause, can_retry=can_retry
        )
        causes = {s.name for s in signals if not self.policy.observes(s.name)}
        redraws = {i: "" for i, rung in enumerate(self.policy.ladder) if isinstance(rung, ReinitializeRung)}
        no_update_since = self.restores > 0 and self.healthy_since_back == 0
        merely_spikes = causes <= {SignalName.LOSS_SPIKE, SignalName.GRADIENT_SPIKE, SignalName.DIVERGENCE}
        no_redraw = redraws if no_update_since and merely_spikes else {}
        self.check_decision(before, decision, start, {**blocked, **no_redraw})
        self.check_retry(decision, cause, can_retry)
        if cause is not None:
            found = Cause(cause, "planted", self.step, self.updates - 1)
            self.say(schema.DiagnosisEvent.from_cause(found, incident=decision.incident))
        self.say(DecisionEvent.from_decision(decision, **at, blocked=blocked, can_retry=can_retry))
        while self.faults.fails(len(self.decisions)) and decision.action is not ActionName.HALT:
            before = self.state
            self.state, again = reject(self.state, decision, "it broke", self.policy, blocked=blocked)
            self.spent.add((decision.incident, decision.rung))
            start = decision.rung + 1
            if decision.action is ActionName.TRY_CURES:
                # The reload that may have been passed over for it has its turn.
                start = max((i for i in self.reloads() if i < decision.rung), default=start)
                self.lowered.add(decision.incident)
            self.check_decision(before, again, start, blocked)
            failure = {"incident": decision.incident, "action": decision.action, "error": "it broke"}
            self.say(schema.ActionFailedEvent(**at, **failure))
            self.say(DecisionEvent.from_decision(again, **at, blocked=blocked))
            decision = again
        self.state = self.remember(self.state)
        self.in_a_row = 0
        for state in self.waiting:
            state.healthy = 0
        rung = self.policy.ladder[decision.rung]
        if isinstance(rung, HaltRung):
            self.halted = True
        elif isinstance(rung, GOES_BACK):
            replay = isinstance(rung, ReloadCheckpointRung) and rung.data is DataAfterReload.REPLAY
            self.go_back(decision.rung, replay, cause)
        else:
            self.step += 1
        back = isinstance(rung, GOES_BACK)
        self.say(
            schema.ActionAppliedEvent(
                **at,
                incident=decision.incident,
                action=decision.action,
                seconds=0.0,
                restored_step=self.step if back else None,
                replayed_batches=max(0, self.replay_until - self.batch) if back else 0,
            )
        )

    def say(self, event: Event) -> None:
        self.events.append(event.model_copy(update={"rank": 0}))

    def go_back(self, rung: int, replay: bool, cause: CauseKind | None) -> None:
        newest = self.good[-1]
        self.step = newest.step
        if replay:
            self.replay_until = max(self.replay_until, self.batch)
            self.batch = newest.batch
        self.waiting.clear()
        self.state = restored(self.state, rung, newest.step, self.policy, cause=cause)
        settings, incident = self.policy.ladder[rung], self.state.incident
        if isinstance(settings, ReloadCheckpointRung) and settings.retry_factor is not None:
            assert incident is not None
            if newest.step <= self.furthest and self.healthy_since_back and cause not in NOT_THE_RATE:
                self.cuts.append([settings.retry_factor, settings.restore_after_steps, incident.id, rung])
        self.healthy_since_back = 0
        if newest.step > self.furthest:
            self.furthest = newest.step
            self.back.clear()
        self.back[rung] = self.back.get(rung, 0) + 1
        self.restores += 1

    def healthy(self) -> None:
        incident = self.state.incident
        self.state, closed = advance(self.state, self.policy)
        self.state = self.remember(self.state)
        self.in_a_row += 1
        self.healthy_since_back += 1
        for cut in self.cuts:
            cut[1] -= 1
        before = len(self.cuts)
        self.cuts = [cut for cut in self.cuts if cut[1] > 0]
        closes = incident is not None and self.in_a_row == self.policy.cooldown_steps
        if closes and incident is not None:
            self.cuts = [cut for cut in self.cuts if cut[2] != incident.id or cut[3] >= incident.rung]
            assert closed.cured_by is self.policy.ladder[incident.rung].action
        assert (closed.incident is not None) is closes
        assert closed.cuts_taken_back == before - len(self.cuts)
        for state in self.waiting:
            state.healthy += 1
        self.promote()

    def promote(self) -> None:
        ready = [state for state in self.waiting if state.healthy >= self.policy.probation_steps]
        self.good += ready
        self.waiting = [state for state in self.waiting if state not in ready]

    def check_decision(self, before: EngineState, decision: Decision, start: int, blocked: dict[int, str]) -> None:
        """The lowest rung that could be used was used, and no budget was overdrawn."""
        earlier = [d for d in self.decisions if d.incident == decision.incident]
        assert decision.incident in self.lowered or all(d.rung <= decision.rung for d in earlier)
        usable = [i for i in range(start, len(self.policy.ladder)) if self.can_use(i, decision.incident, blocked)]
        assert decision.rung == usable[0]
        assert decision.action is self.policy.ladder[decision.rung].action
        assert decision.attempt == 1 + sum(d.rung == decision.rung for d in earlier)
        self.decisions.append(decision)
        rung = self.policy.ladder[decision.rung]
        self.uses.setdefault(decision.rung, []).append(self.clock)
        if isinstance(rung, LowerLrRung):
            self.cuts.append([rung.factor, rung.restore_after_steps, decision.incident, decision.rung])
        if before.incident is None:
            assert decision.incident == before.incidents + 1
        else:
            assert decision.incident == before.incident.id

    def check_retry(self, decision: Decision, cause: CauseKind | None, can_retry: bool) -> None:
        """Once an incident, and only where the batch would have been skipped."""
        wanted = cause is CauseKind.NOT_REPRODUCIBLE and self.policy.retries and can_retry
        earlier = [d for d in self.decisions[:-1] if d.incident == decision.incident and d.retry]
        assert decision.retry is (wanted and decision.action is ActionName.SKIP_BATCH and not earlier)

    def reloads(self) -> list[int]:
        return [i for i, rung in enumerate(self.policy.ladder) if isinstance(rung, ReloadCheckpointRung)]

    def can_use(self, index: int, incident: int, blocked: dict[int, str]) -> bool:
        rung = self.policy.ladder[index]
        if isinstance(rung, HaltRung):
            return True
        if (incident, index) in self.spent:
            return False
        if sum(d.incident == incident and d.rung == index for d in self.decisions) >= rung.attempts:
            return False
        if rung.limit is not None:
            recent = [use for use in self.uses.get(index, []) if use > self.clock - rung.limit.window_updates]
            if len(recent) >= rung.limit.uses or self.back.get(index, 0) >= rung.limit.uses:
                return False
        return index not in blocked

    def check_bounds(self) -> None:
        assert self.state.lr_scale == math.prod(cut[0] for cut in self.cuts)
        backs = sum(r.limit.uses for r in self.policy.ladder if isinstance(r, GOES_BACK))
        assert self.restores <= (self.furthest + 1) * backs
        assert self.updates <= self.steps * (self.restores + 1)
