"""`RunLedger`: where a run stands. Nothing else changes its counters and the engine's memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from pydantic import TypeAdapter

from supervisor.clock import Clock
from supervisor.diagnosis import Diagnosis
from supervisor.engine import Closed, EngineState, advance, decide, dismissed, reject, restored
from supervisor.policy import RecoveryPolicy
from supervisor.record.counters import Counters
from supervisor.record.halting import why_halted
from supervisor.records import (
    NOTHING_FOUND,
    ActionName,
    Bundle,
    CauseKind,
    CureScore,
    Decision,
    Incident,
    Observation,
    Outcome,
    Signal,
    SignalName,
)
from supervisor.update import Attempt, Place

__all__ = ["RunLedger"]

BESIDE = frozenset({"opened_at_seconds", "traceback", "bundle"})
"""Fields of an incident that stand beside it in a checkpoint."""

INCIDENT = TypeAdapter(Incident)
"""Makes an incident of plain values, its causes, decisions and bundle with it."""


class RunLedger:
    """The position of a run and the memory of its engine, changed by one verb for each thing that can happen.

    The open incident stands in the engine's memory alone.

    Args:
        policy: the ladder.
        clock: for durations.

    Attributes:
        counters: the numbers of the run; to be read.
        by_signal: incidents by the signal that opened them.
        cured_by: incidents by the action that cured them.
        now: the monotonic clock, in seconds.
    """

    def __init__(self, policy: RecoveryPolicy, clock: Clock) -> None:
        self.counters = Counters()
        self.by_signal: Counter[SignalName] = Counter()
        self.cured_by: Counter[ActionName] = Counter()
        self._policy = policy
        self.now = clock.monotonic
        self._began_at = self.now()
        self._engine = EngineState()
        # Added to the engine's clock when somebody asks: a healthy step makes no new memory.
        self._ticks = 0

    @property
    def engine(self) -> EngineState:
        """The engine's memory."""
        if self._ticks:
            self._engine, self._ticks = self._engine.tick(self._ticks), 0
        return self._engine

    @property
    def lr_scale(self) -> float:
        """Product of the learning-rate cuts in force."""
        return self._engine.lr_scale if self._engine.cuts else 1.0

    @property
    def incident(self) -> Incident | None:
        """The record of the open incident."""
        return None if self._engine.incident is None else self._engine.incident.record

    @property
    def seconds(self) -> float:
        """Wall time of the run, earlier processes included."""
        return self.counters.seconds + self.now() - self._began_at

    @property
    def last_update(self) -> int | None:
        """The last update attempted: a line about it stays when the run is resumed from here."""
        return self.counters.update - 1 if self.counters.update else None

    @property
    def halted(self) -> bool:
        """Whether the run has ended in `halt` under this ladder."""
        incident = self._engine.incident
        return incident is not None and self._policy.ladder[incident.rung].action is ActionName.HALT

    @property
    def halt_reason(self) -> str | None:
        """Why the run has ended in `halt`; None where it has not."""
        return why_halted(self.incident) if self.halted and self.incident else None

    @property
    def halted_in_place(self) -> bool:
        """Whether a halt left the state as it stood: the flagged step is used up, and nothing has gone back."""
        ended = self.incident.closed_at_step if self.halted and self.incident else None
        return ended is not None and self.counters.step > ended

    def begin(self, batch_number: int) -> Place:
        """Begin an update whose last batch was the `batch_number`-th; 0 where none was drawn, and none comes again."""
        counters = self.counters
        place = Place(counters.step, counters.update, 0 < batch_number <= counters.replay_until)
        counters.update += 1
        self._ticks += not place.replayed
        return place

    def cancel(self, place: Place) -> None:
        """An update was broken off before anything was known of it: as if it had never begun."""
        self.counters.update -= 1
        self._ticks -= not place.replayed

    def applied(self, observation: Observation) -> tuple[Closed, Incident | None] | None:
        """An update was applied and stands.

        Returns:
            What ended with it and the record of the incident that did; None where nothing can have ended.
        """
        counters = self.counters
        counters.step += 1
        counters.applied_steps += 1
        counters.final_loss = observation.loss
        engine = self._engine
        if observation.replayed or (engine.incident is None and not engine.cuts and not engine.bad.in_a_row):
            return None
        record = self.incident
        self._engine, closed = advance(self.engine, self._policy)
        if closed.cured_by is None or record is None:
            return closed, None
        self.cured_by[closed.cured_by] += 1
        return closed, self._ended(record, observation.step, Outcome.RECOVERED, closed.cured_by)

    def spent_since(self, started: float) -> float:
        """An applied update has taken the time since `started`. Gives that time, in seconds."""
        seconds = self.now() - started
        self.counters.useful_seconds += seconds
        return seconds

    def flagged(self) -> None:
        """An update was flagged, and discarded where that was still possible."""
        self.counters.skipped_steps += 1

    def disowned(self, updates: int) -> None:
        """Updates that were applied before were undone together with a flagged one."""
        self.counters.applied_steps -= updates
        self.counters.skipped_steps += updates

    def used_up(self) -> None:
        """The step of a discarded update is over; where an action goes back to an earlier one, this is not called."""
        self.counters.step += 1

    def decide(
        self,
        attempt: Attempt,
        signals: Sequence[Signal],
        blocked: Mapping[int, str],
        *,
        cause: CauseKind | None,
        can_retry: bool,
    ) -> tuple[Decision, bool]:
        """Choose the rung for a flagged update: the decision, and whether it opened an incident.

        Args:
            attempt: the update.
            signals: the findings that are not merely observed, furthest upstream first.
            blocked: for each rung that cannot act now, why.
            cause: what the diagnosis found.
            can_retry: whether its batches can come again.
        """
        record, evidence = self.incident, attempt.evidence
        self._engine, decision = decide(
            self.engine, signals, self._policy, blocked=blocked, cause=cause, can_retry=can_retry, evidence=evidence
        )
        seen, opens = attempt.seen, record is None
        if record is None:
            record = Incident(decision.incident, seen.step, seen.update, opened_at_seconds=self.seconds)
            self.by_signal[signals[0].name] += 1
        names, raised = (*record.signals, *(signal.name for signal in signals)), attempt.raised
        self._set(
            replace(
                record,
                signals=tuple(dict.fromkeys(names)),
                decisions=(*record.decisions, decision),
                steps_lost=record.steps_lost + 1 + attempt.gone_back_over,
                traceback=record.traceback or (None if raised is None else raised.traceback),
            )
        )
        return decision, opens

    def bundled(self, bundle: Bundle | None) -> None:
        """The files to run the incident's first step again were written."""
        if self.incident is not None:
            self._set(replace(self.incident, bundle=bundle))

    def diagnosed(self, diagnosis: Diagnosis) -> None:
        """A flagged update of the open incident was looked into."""
        if (record := self.incident) is not None:
            causes = record.causes if diagnosis.cause is None else (*record.causes, diagnosis.cause)
            first = len(record.decisions) == 1 and diagnosis.cause is None
            not_known = diagnosis.failure or NOTHING_FOUND if first else record.not_known
            self._set(replace(record, causes=causes, replays=record.replays + diagnosis.replays, not_known=not_known))

    def tried(self, cures: tuple[CureScore, ...]) -> None:
        """Cures of the set-up were tried in the open incident."""
        if self.incident is not None:
            self._set(replace(self.incident, cures=cures))

    def dismissed(self, decision: Decision, observation: Observation) -> tuple[Closed, Incident]:
        """Looking into what opened the incident has shown nothing to be done: what ended, and its record."""
        record = self.incident
        if record is None:
            raise ValueError("no incident is open")
        self._engine = dismissed(self.engine)
        self.cured_by[decision.action] += 1
        ended = self._ended(record, observation.step, Outcome.RECOVERED, decision.action)
        return Closed(decision.incident, decision.action), ended

    def reject(self, failed: Decision, error: str, blocked: Mapping[int, str]) -> Decision:
        """An action failed: decide again."""
        record = self.incident
        self._engine, decision = reject(self.engine, failed, error, self._policy, blocked=blocked)
        if record is not None:
            self._set(replace(record, decisions=(*record.decisions, decision)))
        return decision

    def went_back(self, rung: int, step: int, cause: CauseKind | None) -> None:
        """An action of the ladder put the good state of `step` back."""
        self._engine = restored(self.engine, rung, step, self._policy, cause=cause)

    def stands_at(self, step: int, applied_steps: int, useful_seconds: float, replay_until: int) -> None:
        """The training objects were put back to an earlier state; batches up to `replay_until` come again."""
        counters, record = self.counters, self.incident
        if record is not None:
            # Applied ones alone: those that were flagged have been counted when they were.
            self._set(replace(record, steps_lost=record.steps_lost + counters.applied_steps - applied_steps))
        counters.step, counters.applied_steps, counters.useful_seconds = step, applied_steps, useful_seconds
        counters.replay_until = max(counters.replay_until, replay_until)

    def halt(self, step: int) -> None:
        """The run has ended in the open incident."""
        if self.incident is not None:
            self._set(self._ended(self.incident, step, Outcome.HALTED, None))

    def begin_ladder_anew(self, *, mended: bool = False) -> None:
        """Start at the lowest rung with no incident open, without cuts too where what a halt was for is `mended`."""
        self._engine = self.engine.after_halt() if mended else self.engine.for_new_ladder()

    def state_dict(self) -> dict[str, Any]:
        """All of it, as plain values."""
        record = self.incident
        plain = (
            None if record is None else {name: value for name, value in asdict(record).items() if name not in BESIDE}
        )
        return {
            "counters": {**self.counters.to_plain(), "seconds": self.seconds},
            "engine": self.engine.to_plain(),
            "book": {
                "incident": plain,
                "seconds": 0.0 if record is None else self.seconds - record.opened_at_seconds,
                "traceback": None if record is None else record.traceback,
                "bundle": None if record is None or record.bundle is None else asdict(record.bundle),
                "by_signal": {str(name): count for name, count in self.by_signal.items()},
                "cured_by": {str(name): count for name, count in self.cured_by.items()},
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self.counters = Counters.from_plain(state["counters"])
        self._began_at = self.now()
        self._engine, self._ticks = EngineState.from_plain(state["engine"]), 0
        book = state["book"]
        self.by_signal = Counter({SignalName(name): count for name, count in book["by_signal"].items()})
        self.cured_by = Counter({ActionName(name): count for name, count in book["cured_by"].items()})
        if book["incident"] is not None and self._engine.incident is not None:
            opened_at = self.counters.seconds - book["seconds"]
            beside = {"opened_at_seconds": opened_at, "traceback": book["traceback"], "bundle": book["bundle"]}
            self._set(INCIDENT.validate_python({**book["incident"], **beside}))

    def _set(self, record: Incident) -> None:
        if self._engine.incident is None:
            raise ValueError("no incident is open")
        self._engine = replace(self._engine, incident=replace(self._engine.incident, record=record))

    def _ended(self, record: Incident, step: int, outcome: Outcome, cured_by: ActionName | None) -> Incident:
        seconds = self.seconds - record.opened_at_seconds
        return replace(record, closed_at_step=step, outcome=outcome, cured_by=cured_by, seconds=seconds)
