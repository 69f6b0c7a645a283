"""What is known of where a run stands, as one record."""

from __future__ import annotations

import enum

from pydantic import BaseModel, ConfigDict, Field

from supervisor.events.base import Number, UtcTime
from supervisor.events.time_account import TimeAccount
from supervisor.records import ActionName, SignalName

__all__ = ["RunState", "Status"]


class RunState(enum.StrEnum):
    """What a run is doing, or how it ended."""

    RUNNING = "running"
    """A process runs it: it trains, starts, or waits to start its worker again."""
    STALLED = "stalled"
    """A process runs it, and its worker has been silent for longer than the policy allows."""
    DEAD = "dead"
    """No process runs it any more, and it has not ended."""
    FINISHED = "finished"
    HALTED = "halted"
    INTERRUPTED = "interrupted"
    UNSAVED = "unsaved"
    """It has ended, and its last state could not be written."""
    UNKNOWN = "unknown"
    """It has not begun, as far as its log tells, and who runs it is not on record."""


class Status(BaseModel):
    """Where a run stands. As JSON it is strict: non-finite floats are the strings of the event log.

    Attributes:
        run_id: the run, None where no event tells.
        state: what it is doing, or how it ended.
        reason: why it halted, what its worker died of, or how it is known to be dead or to stand still.
        step: steps used up: the schedule position that comes next.
        steps: where the schedule ends.
        update: attempted optimizer update that was last heard of, from 0.
        applied_updates: attempted updates that were not flagged, those that a reload undid included.
        undone_updates: of the applied ones, those that going back to an earlier state has undone.
        flagged_updates: attempted updates that were flagged and discarded.
        loss: loss of the last applied update, where the run has ended and said so; else of the last `step` event.
        logged_step: step of the last `step` event; one in `log_every_steps` has one.
        grad_norm: gradient norm of that event, before clipping.
        lr: its nominal learning rate.
        lr_scale: product of the learning-rate cuts in force.
        rung: rung used last in the open incident, None when none is open.
        open_incident: number of the open incident.
        bad_batches: batches that were discarded for their data, the state being sound.
        quarantined: rows of the data set that are left out.
        incidents: incidents opened.
        incidents_by_signal: each incident once, under its first signal.
        cured_by: closed incidents, by the action that cured them.
        last_checkpoint: the newest committed one that was not rejected, relative to the run directory.
        last_good_checkpoint: the newest good one of these.
        metrics: the last evaluation.
        seconds: wall time over all lives, without the time between an orderly end and a resume.
        account: where it went.
        goodput: useful preserved training time over wall time.
        mttr_seconds: mean time from detection to the next healthy applied step; see `RunTimes`.
        heartbeat_seconds: how long ago its worker gave its last sign of life, where it runs and that is known.
        cures: the cures of the set-up in force, in the order in which they were chosen.
        initial_scale: the weights that began with an unusual scale, as the signal of that name told of them.
        headroom: the last forecast of a bound that is passed soon, with its step.
        warnings: how many the log holds.
        last_warnings: the last few of them, those that differ in numbers alone once.
        started: time of the first event.
        updated: time of the last event.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str | None = None
    state: RunState = RunState.UNKNOWN
    reason: str | None = None
    step: int | None = None
    steps: int | None = None
    update: int | None = None
    applied_updates: int | None = None
    undone_updates: int = 0
    flagged_updates: int = 0
    loss: Number | None = None
    logged_step: int | None = None
    grad_norm: Number | None = None
    lr: Number | None = None
    lr_scale: Number = 1.0
    rung: int | None = None
    open_incident: int | None = None
    bad_batches: int = 0
    quarantined: tuple[int | str, ...] = ()
    incidents: int = 0
    incidents_by_signal: dict[SignalName, int] = Field(default_factory=dict)
    cured_by: dict[ActionName, int] = Field(default_factory=dict)
    last_checkpoint: str | None = None
    last_good_checkpoint: str | None = None
    metrics: dict[str, Number] = Field(default_factory=dict)
    seconds: Number = 0.0
    account: TimeAccount | None = None
    goodput: Number | None = None
    mttr_seconds: Number | None = None
    heartbeat_seconds: Number | None = None
    cures: tuple[str, ...] = ()
    initial_scale: str | None = None
    headroom: str | None = None
    warnings: int = 0
    last_warnings: tuple[str, ...] = ()
    started: UtcTime | None = None
    updated: UtcTime | None = None
