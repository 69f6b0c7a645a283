"""Events of a run and its checkpoints, and the summary it ends with; `schema` exports them."""

from __future__ import annotations

import enum
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from supervisor.events.base import EventBase, Number, RecordModel
from supervisor.events.time_account import TimeAccount
from supervisor.records import ActionName, SignalName


class RunStatus(enum.StrEnum):
    """How a run ended."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    HALTED = "halted"
    UNSAVED = "unsaved"
    """It came to its end, or was asked to stop, and its last state could not be written."""


class RunSummary(RecordModel):
    """What a run came to.

    Attributes:
        status: how it ended.
        steps: schedule position reached: the number of steps used up.
        applied_steps: steps of those whose update was applied and kept.
        skipped_steps: updates that were flagged and discarded, those that a reload went back over included.
        bad_batches: batches that were discarded for their data, the state being sound.
        quarantined: rows of the data set that are left out, those that the run was given included.
        incidents: incidents opened.
        warnings: warnings in the event log, since the process began that the run ended in.
        incidents_by_signal: each incident once, under its first signal.
        cured_by: closed incidents, by the action that cured them.
        lr_scale: product of the learning-rate cuts in force at the end.
        final_loss: loss of the last applied update, None where there was none.
        metrics: the trainer's last evaluation.
        seconds: wall time of the run, restarts included.
        goodput: useful preserved training time over wall time, 0 to 1; None where it was not measured.
        account: where the wall time went; None where the run writes no log.
        reason: why it was halted, or what is lost of one that could not be saved; None elsewhere.
        in_place: whether a halt left the state as it stood, instead of going back to the newest good one.
        cures: the cures of the set-up in force, as `lr 0.1`, in the order in which they were chosen.
    """

    status: RunStatus
    steps: NonNegativeInt
    applied_steps: NonNegativeInt
    skipped_steps: NonNegativeInt = 0
    bad_batches: NonNegativeInt = 0
    quarantined: tuple[int | str, ...] = ()
    incidents: NonNegativeInt = 0
    warnings: NonNegativeInt = 0
    incidents_by_signal: dict[SignalName, NonNegativeInt] = Field(default_factory=dict)
    cured_by: dict[ActionName, NonNegativeInt] = Field(default_factory=dict)
    lr_scale: Number = 1.0
    final_loss: Number | None = None
    metrics: dict[str, Number] = Field(default_factory=dict)
    seconds: Number = 0.0
    goodput: Number | None = None
    account: TimeAccount | None = None
    reason: str | None = None
    in_place: bool = False
    cures: tuple[str, ...] = ()


class RunStartedEvent(EventBase):
    """A run begins. Its `step` and `update` stay None, so that no resume makes it void.

    Attributes:
        steps: where the schedule ends, None where the caller drives the loop without an end.
        seed: the job's seed.
        trainer: the job's trainer, None for a guard without a job.
        device: where the model lives.
        policy: path of the policy as given, or `inline`, or `built-in`.
        version: version of this package.
        log: path of the run directory as given, None where nothing is written.
        accumulate: batches an update.
    """

    event: Literal["run_started"] = "run_started"
    steps: PositiveInt | None = None
    seed: int | None = None
    trainer: str | None = None
    device: str | None = None
    policy: str | None = None
    version: str | None = None
    log: str | None = None
    accumulate: PositiveInt = 1


class RunResumedEvent(EventBase):
    """A run goes on from a checkpoint.

    `update` is the next one to be attempted: earlier lines of this rank at or above it tell of lost work.

    Attributes:
        checkpoint_step: step of the checkpoint.
        path: the checkpoint, relative to the run directory.
        steps: where the schedule ends now, None where unchanged.
        reason: what is not exact about the resume, None where all is.
        ladder_begins_anew: whether the engine forgot its open incident and its limits, since the policy changed or the
            run had been halted.
        after_halt: whether it forgot the cuts of the learning rate too: what a halted run was halted for is mended.
    """

    event: Literal["run_resumed"] = "run_resumed"
    checkpoint_step: NonNegativeInt
    path: str | None = None
    steps: PositiveInt | None = None
    reason: str | None = None
    ladder_begins_anew: bool = False
    after_halt: bool = False


class SettingsChangedEvent(EventBase):
    """A run was resumed with other settings than it had.

    Attributes:
        changes: each of them, with both values: `policy.cooldown_steps (20, now 5)`.
    """

    event: Literal["settings_changed"] = "settings_changed"
    changes: tuple[str, ...]


class StepEvent(EventBase):
    """One update in every `log_every_steps`.

    Attributes:
        loss: its loss.
        grad_norm: its total L2 gradient norm before clipping.
        lr: nominal learning rate of the first parameter group: without the supervisor's cuts.
        lr_scale: product of the cuts in force.
        step_seconds: wall time of the update.
        rung: index of the rung used last in the open incident, None when none is open.
        incidents: incidents opened so far.
        applied_seconds: wall time of all updates that this process has applied so far; None in logs of before.
        states_seconds: wall time for which it has waited for snapshots and checkpoints so far, likewise.
    """

    event: Literal["step"] = "step"
    loss: Number
    grad_norm: Number
    lr: Number
    lr_scale: Number
    step_seconds: Number
    rung: NonNegativeInt | None = None
    incidents: NonNegativeInt = 0
    applied_seconds: Number | None = None
    states_seconds: Number | None = None


class MetricsEvent(EventBase):
    """What the trainer's evaluation measured after `step` steps.

    Attributes:
        metrics: its numbers, by name.
        seconds: wall time that it took.
    """

    event: Literal["metrics"] = "metrics"
    metrics: dict[str, Number]
    seconds: Number = 0.0


class BufferExemptEvent(EventBase):
    """Some elements of buffers were non-finite at the start: those are exempt.

    Attributes:
        buffers: qualified names of the buffers.
    """

    event: Literal["buffer_exempt"] = "buffer_exempt"
    buffers: tuple[str, ...]


class WarningEvent(EventBase):
    """Something a person should know that changed nothing.

    Attributes:
        message: what.
        spoken: whether a guard in a loop of one's own says it on stderr: not what belongs to the line of an incident,
            what was said already, and what is of interest only beside the rest of the log. Not written.
        traceback: of the exception in the user's code that it is about, where there is one.
    """

    event: Literal["warning"] = "warning"
    message: str
    spoken: bool = Field(default=True, exclude=True)
    traceback: str | None = None


class RunHaltedEvent(EventBase):
    """The ladder ended in `halt`; `summary.in_place` says which state the model is left in.

    Attributes:
        reason: why.
        summary: what the run came to; None in logs of before it was told.
        applied_seconds: as in a `step` event.
        states_seconds: likewise.
    """

    event: Literal["run_halted"] = "run_halted"
    reason: str
    summary: RunSummary | None = None
    applied_seconds: Number | None = None
    states_seconds: Number | None = None


class RunFinishedEvent(EventBase):
    """The schedule is done, or the run stopped in good order when asked to.

    Attributes:
        status: `finished` and `interrupted` say that a verified checkpoint of the last step is on disk.
        summary: what the run came to.
        applied_seconds: as in a `step` event.
        states_seconds: likewise.
    """

    event: Literal["run_finished"] = "run_finished"
    status: Literal[RunStatus.FINISHED, RunStatus.INTERRUPTED, RunStatus.UNSAVED]
    summary: RunSummary
    applied_seconds: Number | None = None
    states_seconds: Number | None = None


class _CheckpointEvent(EventBase):
    """The fields of the three checkpoint events.

    Attributes:
        checkpoint_step: schedule position of the state.
        path: the checkpoint, relative to the run directory.
        reason: why, where there is something to say.
    """

    checkpoint_step: NonNegativeInt
    path: str
    reason: str | None = None


class CheckpointSavedEvent(_CheckpointEvent):
    """A checkpoint is committed: durable, not yet good."""

    event: Literal["checkpoint_saved"] = "checkpoint_saved"


class CheckpointPromotedEvent(_CheckpointEvent):
    """A checkpoint is good from here on."""

    event: Literal["checkpoint_promoted"] = "checkpoint_promoted"


class CheckpointRejectedEvent(_CheckpointEvent):
    """A checkpoint was passed over or retired, and why."""

    event: Literal["checkpoint_rejected"] = "checkpoint_rejected"
    reason: str


class BestCheckpointEvent(_CheckpointEvent):
    """A checkpoint is the best so far by the metric of `keep_best`, and is kept as long as it is.

    Attributes:
        metric: the metric.
        value: its value.
    """

    event: Literal["checkpoint_best"] = "checkpoint_best"
    metric: str
    value: Number
