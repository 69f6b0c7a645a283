"""A recorded run through the detectors and the ladder of another policy, decision by decision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from supervisor.engine import EngineState, advance, decide, dismissed, reject, restored
from supervisor.errors import InputError
from supervisor.events import read_events
from supervisor.events.observation_file import OBSERVATIONS, read_observations
from supervisor.policy import SETUP_SIGNALS, RecoveryPolicy, load_policy
from supervisor.records import ActionName, Decision, Observation, Signal, SignalName
from supervisor.replay.recording import RecordedRun, RecordedUpdate, read_recording
from supervisor.run_layout import RunLayout
from supervisor.signals import Detectors

__all__ = ["Comparison", "Replayed", "replay", "replay_run"]

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
        """Whether both found the same and chose the same; why they did is worded by each policy's own numbers."""
        return self.recorded_signals == self.replayed_signals and _chosen(self.recorded) == _chosen(self.replayed)


def _chosen(decisions: tuple[Decision, ...]) -> list[tuple[int, ActionName, bool, bool]]:
    return [(each.rung, each.action, each.retry, each.in_place) for each in decisions]


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


def replay_run(run_dir: str, policy: str) -> Replayed:
    """Decide the run in `run_dir` again by the policy in the file `policy`.

    Raises:
        InputError: one of them cannot be read, the run's own policy is missing, or the two policies detect
            differently and the run kept no observations.
    """
    run = read_recording(read_events(Path(run_dir)))
    written = RunLayout(Path(run_dir)).policy
    if not written.is_file():
        raise InputError(f"{written}: missing: without the policy that it ran by, a run cannot be decided again")
    before, now = load_policy(str(written)), load_policy(policy)
    # How often the state is checked decides what a run measures, not what a measurement means.
    # A forecast is only told.
    alike = {"state_every_steps": before.detect.state_every_steps, "headroom": before.detect.headroom}
    if before.detect == now.detect.model_copy(update=alike):
        return replay(run, before, now)
    observations = read_observations(Path(run_dir))
    if observations is None:
        raise InputError(
            f"{policy}: detect: differs from the run's own, and the run kept no {OBSERVATIONS}: "
            "write the same `detect`, or set `observations: true` in the job of the next run"
        )
    return replay(run, before, now, observations)


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
    return _Replay(run, recorded_policy, policy, observations or {}, Detectors(policy)).result()


@dataclass(slots=True)
class _Replay:
    """A replay in progress: what it is given, and what it has come to so far."""

    run: RecordedRun
    recorded_policy: RecoveryPolicy
    policy: RecoveryPolicy
    observations: Mapping[int, Observation]
    detectors: Detectors
    state: EngineState = field(default_factory=EngineState, init=False)
    comparisons: list[Comparison] = field(default_factory=list, init=False)
    cured: Counter[ActionName] = field(default_factory=Counter, init=False)
    halted_at: int | None = field(default=None, init=False)

    def result(self) -> Replayed:
        for update in range(self.run.updates):
            if update in self.run.new_ladders:
                mended = update in self.run.without_cuts
                self.state = self.state.after_halt() if mended else self.state.for_new_ladder()
            if self.halted_at is None or update in self.run.new_ladders:
                # A run that was resumed after its halt goes on under either policy.
                self.halted_at = None
                self._update(self._found(update))
            elif self._found(update).decisions:
                self._compare(self._found(update), (), ())
        return Replayed(tuple(self.comparisons), self.run.updates, self.halted_at, self.state.lr_scale, self.cured)

    def _found(self, update: int) -> RecordedUpdate:
        """What is on record about an update; of a healthy one nothing but its number is."""
        return self.run.found.get(update) or RecordedUpdate(update, step=0)

    def _update(self, found: RecordedUpdate) -> None:
        update = found.update
        again = update in self.run.replayed
        if not again:
            self.state = self.state.tick()
        if found.answered_by_scaler:
            return
        signals = self._signals(found)
        names = tuple(signal.name for signal in signals)
        if self.policy.acted_on(signals):
            decisions = self._decide(signals, found)
            self._compare(found, names, decisions)
            if decisions[-1].action is ActionName.HALT:
                self.halted_at = update
            return
        if found.decisions:
            self._compare(found, names, ())
        if update in self.observations:
            self.detectors.accept(self.observations[update])
        if not again:
            self.state, closed = advance(self.state, self.policy)
            if closed.cured_by is not None:
                self.cured[closed.cured_by] += 1

    def _signals(self, found: RecordedUpdate) -> tuple[Signal, ...]:
        if found.update in self.observations:
            # What was found out by calling the model again is not in what was measured.
            asked = tuple(Signal(name) for name in found.signals if name in SETUP_SIGNALS)
            return (*self.detectors.inspect(self.observations[found.update]), *asked)
        return tuple(Signal(name) for name in found.signals)

    def _decide(self, signals: tuple[Signal, ...], found: RecordedUpdate) -> tuple[Decision, ...]:
        recorded = found.decisions
        failures = [(index, each) for index, each in enumerate(recorded) if each.error is not None]
        blocked = recorded[0].blocked if recorded else {}
        self.state, decision = decide(
            self.state,
            signals,
            self.policy,
            blocked=self._mapped(blocked),
            cause=found.cause,
            can_retry=bool(recorded) and recorded[0].can_retry,
            # Under another policy too: what is at fault does not depend on what is done about it.
            evidence=recorded[0].evidence if recorded and self.policy.experiments is not None else None,
        )
        decisions = [decision]
        while failure := next((f for f in failures if f[1].decision.action is decision.action), None):
            # An action that failed in the recording fails here too, and as often.
            failures.remove(failure)
            index, failed = failure
            blocked = recorded[index + 1].blocked if index + 1 < len(recorded) else blocked
            error = failed.error or ""
            self.state, decision = reject(self.state, decision, error, self.policy, blocked=self._mapped(blocked))
            decisions.append(decision)
        if decision.action in GOES_BACK and not decision.in_place:
            step = self._restored_step(found)
            self.state = restored(self.state, decision.rung, step, self.policy, cause=found.cause)
        elif decision.action is ActionName.TRY_CURES:
            went_back = found.restored_step is not None
            step = self._restored_step(found)
            self.state = (
                restored(self.state, decision.rung, step, self.policy, cause=found.cause)
                if went_back
                else dismissed(self.state)
            )
        self._tell_detectors(found.update, decision)
        return tuple(decisions)

    def _tell_detectors(self, update: int, decision: Decision) -> None:
        if update in self.observations:
            self.detectors.flagged(self.observations[update])
        if decision.action is ActionName.REINITIALIZE:
            self.detectors.forget()
        elif decision.action in GOES_BACK and not decision.in_place:
            self.detectors.restored()

    def _mapped(self, blocked: Mapping[int, str]) -> dict[int, str]:
        """The recorded reasons why rungs could not act, by rung of this ladder: by place and action, else by action."""
        actions = [rung.action for rung in self.recorded_policy.ladder]
        mapped = {}
        for index, rung in enumerate(self.policy.ladder):
            same_place = index < len(actions) and actions[index] is rung.action
            like = index if same_place else actions.index(rung.action) if rung.action in actions else None
            if like is not None and like in blocked:
                mapped[index] = blocked[like]
        return mapped

    def _restored_step(self, found: RecordedUpdate) -> int:
        if found.restored_step is not None:
            return found.restored_step
        known = [each for number, each in self.run.found.items() if number <= found.update]
        step_then = known[-1].step + found.update - known[-1].update if known else found.update
        step = step_then - self.policy.probation_steps
        return max(0, step - step % self.policy.snapshot.every_steps)

    def _compare(self, found: RecordedUpdate, signals: tuple[SignalName, ...], decisions: tuple[Decision, ...]) -> None:
        self.comparisons.append(
            Comparison(
                update=found.update,
                step=found.step if found.update in self.run.found else None,
                recorded_signals=found.signals,
                replayed_signals=signals,
                recorded=tuple(each.decision for each in found.decisions),
                replayed=decisions,
            )
        )
