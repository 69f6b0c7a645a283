"""How well a policy recovered what was injected into a run: from the record alone, without torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from supervisor.events import read_events
from supervisor.events.base import Number
from supervisor.events.schema import Event
from supervisor.events.time_account import TimeAccount
from supervisor.faults import Fault, FaultRecord, read_fault_records
from supervisor.rehearsal.attribution import Strike, attribute
from supervisor.rehearsal.history import History
from supervisor.run_layout import RunLayout

__all__ = ["Ended", "FaultScore", "Score", "StrikeScore", "score", "score_run"]

LAST_LOSSES = 5
"""`step` events whose mean loss says where a run ended: one batch's loss is mostly chance."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class StrikeScore(_Record):
    """One strike of a fault: the fields of its `FaultRecord`, and what became of it.

    Attributes:
        detected: what found it, None where nothing did.
        delay_steps: updates from the strike to its detection, None where it was not found in a step.
        delay_seconds: wall time likewise.
        cause: kind of cause its diagnosis found, None where it was not diagnosed.
        diagnosed_right: whether that is what the fault is; None where it was not diagnosed, or cannot be.
        incident: number of its incident.
        cured_by: what ended it.
        steps_lost: steps flagged, gone back over or lost with a process.
        seconds_lost: those steps at the mean step's time, plus what was spent on the recovery.
    """

    fault: int
    kind: str
    batch: int
    step: int | None
    update: int | None
    target: str | None
    detected: str | None
    delay_steps: int | None
    delay_seconds: Number | None
    cause: str | None
    diagnosed_right: bool | None
    incident: int | None
    cured_by: str | None
    steps_lost: int
    seconds_lost: Number


class FaultScore(_Record):
    """All strikes of one fault of the script.

    Attributes:
        fault: its index in the script.
        kind: its kind.
        strikes: how often it struck; 0 where the run never came there.
        detected: how many of those were found.
        diagnosed: how many were given a cause, where the fault is one that has a cause.
        diagnosed_right: how many of those the right one.
        findings: what found them, counted.
        causes: the causes given, counted.
        cured_by: what ended them, counted.
        longest_delay_steps: of all detections.
        steps_lost: of all strikes.
        seconds_lost: of all strikes.
    """

    fault: int
    kind: str
    strikes: int
    detected: int
    diagnosed: int
    diagnosed_right: int
    findings: dict[str, int]
    causes: dict[str, int]
    cured_by: dict[str, int]
    longest_delay_steps: int | None
    steps_lost: int
    seconds_lost: Number


class Ended(_Record):
    """What a run came to.

    Attributes:
        status: `finished`, `halted` or `interrupted`; None where its log does not say.
        steps: schedule position reached.
        applied_steps: updates applied and kept.
        final_loss: mean loss of its last five `step` events.
        metrics: its evaluation.
        useful_seconds: time of the steps that were applied and kept.
        wall_seconds: wall time of the run, over all lives of its worker.
        ettr: useful over wall time (goodput).
        account: where the wall time went.
    """

    status: str | None
    steps: int | None
    applied_steps: int | None
    final_loss: Number | None
    metrics: dict[str, Number]
    useful_seconds: Number | None
    wall_seconds: Number | None
    ettr: Number | None
    account: TimeAccount


class Score(_Record):
    """The score of a rehearsal.

    The counts and what was lost are those of a `FaultScore`, over all faults.

    Attributes:
        unexplained: flagged updates that belong to no fault: false alarms.
        rehearsal: what the run came to.
        reference: what the run without faults came to, None where there is none.
        faults: by fault.
        each: by strike.
    """

    strikes: int
    detected: int
    diagnosed: int
    diagnosed_right: int
    unexplained: int
    steps_lost: int
    seconds_lost: Number
    rehearsal: Ended
    reference: Ended | None
    faults: tuple[FaultScore, ...]
    each: tuple[StrikeScore, ...]


def score_run(run_dir: Path, faults: Sequence[Fault], reference: Path | None = None) -> Score:
    """The score of a run directory.

    Args:
        run_dir: the run with the faults.
        faults: the script that was injected into it.
        reference: the run without, if there is one.

    Raises:
        InputError: a log cannot be read.
    """
    return score(
        faults,
        read_fault_records(RunLayout(run_dir).faults),
        read_events(run_dir, with_void=True),
        None if reference is None else read_events(reference, with_void=True),
    )


def score(
    faults: Sequence[Fault],
    records: Sequence[FaultRecord],
    events: Iterable[Event],
    reference: Iterable[Event] | None = None,
) -> Score:
    """The score of a run, from what was injected and what was logged.

    Args:
        faults: the script.
        records: its strikes.
        events: the run's events, those that a resume made void included.
        reference: likewise of the run without faults.
    """
    history = History(events)
    strikes, unexplained = attribute(faults, records, history)
    slow_seconds = sum(strike.seconds_beside for strike in strikes if strike.fault.kind == "slow_step")
    ended = _ended(history, slow_seconds)
    step_seconds = (ended.useful_seconds or 0.0) / ended.applied_steps if ended.applied_steps else 0.0
    each = tuple(_strike_score(strike, step_seconds) for strike in strikes)
    return Score(
        strikes=len(each),
        detected=sum(one.detected is not None for one in each),
        diagnosed=sum(one.diagnosed_right is not None for one in each),
        diagnosed_right=sum(one.diagnosed_right is True for one in each),
        unexplained=len(unexplained),
        steps_lost=sum(one.steps_lost for one in each),
        seconds_lost=sum(one.seconds_lost for one in each),
        rehearsal=ended,
        reference=None if reference is None else _ended(History(reference), 0.0),
        faults=tuple(
            _fault_score(index, fault.kind, [one for one in each if one.fault == index])
            for index, fault in enumerate(faults)
        ),
        each=each,
    )


def _strike_score(strike: Strike, step_seconds: float) -> StrikeScore:
    right = strike.cause in strike.fault.expected_causes if strike.cause and strike.fault.expected_causes else None
    incident = strike.flagged[0].incident if strike.flagged else None
    delay = None if strike.found_at is None else strike.found_at - strike.at.seconds
    return StrikeScore(
        **strike.record.model_dump(exclude={"time", "life", "monotonic"}),
        detected=strike.found,
        delay_steps=strike.delay_steps,
        delay_seconds=delay,
        cause=strike.cause,
        diagnosed_right=right,
        incident=None if incident is None else incident.id,
        cured_by=strike.cured_by,
        steps_lost=strike.steps_lost,
        seconds_lost=strike.seconds_beside + strike.steps_lost * step_seconds,
    )


def _fault_score(index: int, kind: str, each: Sequence[StrikeScore]) -> FaultScore:
    delays = [one.delay_steps for one in each if one.delay_steps is not None]
    return FaultScore(
        fault=index,
        kind=kind,
        strikes=len(each),
        detected=sum(one.detected is not None for one in each),
        diagnosed=sum(one.diagnosed_right is not None for one in each),
        diagnosed_right=sum(one.diagnosed_right is True for one in each),
        findings=dict(Counter(one.detected for one in each if one.detected is not None)),
        causes=dict(Counter(one.cause for one in each if one.cause is not None)),
        cured_by=dict(Counter(one.cured_by for one in each if one.cured_by is not None)),
        longest_delay_steps=max(delays, default=None),
        steps_lost=sum(one.steps_lost for one in each),
        seconds_lost=sum(one.seconds_lost for one in each),
    )


def _ended(history: History, slow_seconds: float) -> Ended:
    summary = None if history.ended is None else history.ended.summary
    account = history.account
    # A step that a fault has slowed down was useful for the time that it would have taken.
    slow_seconds = min(slow_seconds, account.training)
    account = account.model_copy(
        update={"training": account.training - slow_seconds, "wasted": account.wasted + slow_seconds}
    )
    last = [history.losses[step] for step in sorted(history.losses)][-LAST_LOSSES:]
    return Ended(
        status=None if summary is None else str(summary.status),
        steps=None if summary is None else summary.steps,
        applied_steps=None if summary is None else summary.applied_steps,
        final_loss=sum(last) / len(last) if last else None,
        metrics=history.metrics,
        useful_seconds=account.training if account.seconds else None,
        wall_seconds=account.seconds or None,
        ettr=account.goodput,
        account=account,
    )
