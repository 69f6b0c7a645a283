"""A recorded run through the detectors and the ladder of another policy, decision by decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from supervisor.engine import EngineState, advance, decide, reject, restored
from supervisor.policy import RecoveryPolicy
from supervisor.records import ActionName, Decision, Observation, Signal, SignalName
from supervisor.replay.recording import RecordedRun, RecordedUpdate
from supervisor.signals import Detectors

__all__ = ["Comparison", "Replayed", "replay"]

GOES_BACK = frozenset({ActionName.RELOAD_CHECKPOINT, ActionName.REINITIALIZE, ActionName.HALT})


@dataclass(frozen=True, slots=True)
class Comparison:
    """One update that was flagged, or is now.

    Attributes:
        update: its number, from 0.
        step: its schedule position in the recorded run, None where nothing about it is on record.
        recorded_signals: what was found.
        replayed_signals: what the other policy's detectors find.
        recorded: what was decided, the decisions after failed actions included; empty where nothing was.
        replayed: what the other policy decides, likewise.
    """

    update: int
    step: int | None
    recorded_signals: tuple[SignalName, ...]
    replayed_signals: tuple[SignalName, ...]
    recorded: tuple[Decision, ...]
    replayed: tuple[Decision, ...]

    @property
    def same(self) -> bool:
        """Whether both found the same and chose the same actions for the same reasons."""
        return self.recorded == self.replayed and self.recorded_signals == self.replayed_signals


@dataclass(frozen=True, slots=True)
class Replayed:
    """A whole run under both policies.

    Attributes:
        comparisons: every update that one of them flags, in order.
        updates: how many the recording has.
        halted_at: the update where the other policy halts, None where it does not.
        lr_scale: product of the cuts in force under it at the end.
        cured: incidents that close under it, by the action that cured them.
    """

    comparisons: tuple[Comparison, ...]
    updates: int
    halted_at: int | None
    lr_scale: float
    cured: dict[ActionName, int] = field(default_factory=dict)

    @property
    def parting(self) -> Comparison | None:
        """The first update where the two part, None where they never do."""
        return next((each for each in self.comparisons if not each.same), None)


def replay(
    run: RecordedRun,
    recorded_policy: RecoveryPolicy,
    policy: RecoveryPolicy,
    observations: Mapping[int, Observation] | None = None,
) -> Replayed:
    """Decide a recorded run again.

    Under the policy it was recorded with, every decision comes out as it was. Under another one, what follows the
    first difference is what the recorded run met, not what this policy's run would have met: other batches, other
    weights. Where a rung goes back and the recorded run did not, the state that it would find is estimated from the
    policy's snapshots and probation.

    Args:
        run: the recording.
        recorded_policy: what it was decided by.
        policy: what to decide by now.
        observations: by update, for the policy's own detectors; None: the recorded findings stand.
    """
    return _Replay(run, recorded_policy, policy, observations).result()


class _Replay:
    def __init__(
        self,
        run: RecordedRun,
        recorded_policy: RecoveryPolicy,
        policy: RecoveryPolicy,
        observations: Mapping[int, Observation] | None,
    ) -> None:
        self._run = run
        self._recorded_policy = recorded_policy
        self._policy = policy
        self._detectors = Detectors(policy)
        self._observations = observations or {}
        self._state = EngineState()
        self._comparisons: list[Comparison] = []
        self._cured: dict[ActionName, int] = {}
        self._halted_at: int | None = None

    def result(self) -> Replayed:
        for update in range(self._run.updates):
            if update in self._run.new_ladders:
                self._state = self._state.for_new_ladder()
            if self._halted_at is None or update in self._run.new_ladders:
                # A run that was resumed after its halt goes on under either policy.
                self._halted_at = None
                self._update(update)
            elif update in self._run.found and self._run.found[update].decisions:
                self._compare(update, (), ())
        return Replayed(tuple(self._comparisons), self._run.updates, self._halted_at, self._state.lr_scale, self._cured)

    def _update(self, update: int) -> None:
        again = update in self._run.replayed
        if not again:
            self._state = self._state.tick()
        found = self._run.found.get(update)
        if found is not None and found.answered_by_scaler:
            return
        signals = self._signals(update)
        if any(not self._policy.observes(signal.name) for signal in signals):
            decisions = self._decide(signals, update, found)
            self._compare(update, tuple(signal.name for signal in signals), decisions)
            if decisions[-1].action is ActionName.HALT:
                self._halted_at = update
            return
        if found is not None and found.decisions:
            self._compare(update, tuple(signal.name for signal in signals), ())
        if update in self._observations:
            self._detectors.accept(self._observations[update])
        if not again:
            self._state, closed = advance(self._state, self._policy)
            if closed.cured_by is not None:
                self._cured[closed.cured_by] = self._cured.get(closed.cured_by, 0) + 1

    def _signals(self, update: int) -> tuple[Signal, ...]:
        if update in self._observations:
            return self._detectors.inspect(self._observations[update])
        found = self._run.found.get(update)
        return () if found is None else tuple(Signal(name) for name in found.signals)

    def _decide(self, signals: tuple[Signal, ...], update: int, found: RecordedUpdate | None) -> tuple[Decision, ...]:
        recorded = () if found is None else found.decisions
        failures = [(index, each) for index, each in enumerate(recorded) if each.error is not None]
        blocked = recorded[0].blocked if recorded else {}
        self._state, decision = decide(
            self._state,
            signals,
            self._policy,
            blocked=self._mapped(blocked),
            cause=None if found is None else found.cause,
            can_retry=bool(recorded) and recorded[0].can_retry,
        )
        decisions = [decision]
        while failure := next((f for f in failures if f[1].decision.action is decision.action), None):
            # An action that failed in the recording fails here too, and as often.
            failures.remove(failure)
            index, failed = failure
            blocked = recorded[index + 1].blocked if index + 1 < len(recorded) else blocked
            error = failed.error or ""
            self._state, decision = reject(self._state, decision, error, self._policy, blocked=self._mapped(blocked))
            decisions.append(decision)
        if decision.action in GOES_BACK:
            cause = None if found is None else found.cause
            step = self._restored_step(update, found)
            self._state = restored(self._state, decision.rung, step, self._policy, cause=cause)
        self._tell_detectors(update, decision)
        return tuple(decisions)

    def _tell_detectors(self, update: int, decision: Decision) -> None:
        if update in self._observations:
            self._detectors.flagged(self._observations[update])
        if decision.action is ActionName.REINITIALIZE:
            self._detectors.forget()
        elif decision.action in GOES_BACK:
            self._detectors.restored()

    def _mapped(self, blocked: Mapping[int, str]) -> dict[int, str]:
        """The recorded reasons why rungs could not act, by rung of this ladder: by place and action, else by action."""
        actions = [rung.action for rung in self._recorded_policy.ladder]
        mapped = {}
        for index, rung in enumerate(self._policy.ladder):
            same_place = index < len(actions) and actions[index] is rung.action
            like = index if same_place else actions.index(rung.action) if rung.action in actions else None
            if like is not None and like in blocked:
                mapped[index] = blocked[like]
        return mapped

    def _restored_step(self, update: int, found: RecordedUpdate | None) -> int:
        if found is not None and found.restored_step is not None:
            return found.restored_step
        step = self._step_at(update) - self._policy.probation_steps
        return max(0, step - step % self._policy.snapshot.every_steps)

    def _step_at(self, update: int) -> int:
        known = [each for number, each in self._run.found.items() if number <= update]
        return known[-1].step + update - known[-1].update if known else update

    def _compare(self, update: int, signals: tuple[SignalName, ...], decisions: tuple[Decision, ...]) -> None:
        found = self._run.found.get(update)
        self._comparisons.append(
            Comparison(
                update=update,
                step=None if found is None else found.step,
                recorded_signals=() if found is None else found.signals,
                replayed_signals=signals,
                recorded=() if found is None else tuple(each.decision for each in found.decisions),
                replayed=decisions,
            )
        )
