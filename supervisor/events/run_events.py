"""Events of a run, its checkpoints and its worker process, and the summary it ends with; `schema` exports them."""

from __future__ import annotations

import enum
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from supervisor.events.base import EventBase, Number, RecordModel
from supervisor.records import ActionName, SignalName


class RunStatus(enum.StrEnum):
    """How a run ended."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    HALTED = "halted"


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
        seconds: wall time of the run, restarts included where they are known.
        goodput: useful preserved training time over wall time, 0 to 1; None where it was not measured.
        reason: why it was halted, None where it was not.
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
        ladder_begins_anew: whether the engine forgot its open incident and its limits, since the policy changed.
    """

    event: Literal["run_resumed"] = "run_resumed"
    checkpoint_step: NonNegativeInt
    path: str | None = None
    steps: PositiveInt | None = None
    reason: str | None = None
    ladder_begins_anew: bool = False


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
    """

    event: Literal["step"] = "step"
    loss: Number
    grad_norm: Number
    lr: Number
    lr_scale: Number
    step_seconds: Number
    rung: NonNegativeInt | None = None
    incidents: NonNegativeInt = 0


class MetricsEvent(EventBase):
    """What the trainer's evaluation measured after `step` steps, and the wall time in seconds that it took."""

    event: Literal["metrics"] = "metrics"
    metrics: dict[str, Number]
    seconds: Number = 0.0


class BufferExemptEvent(EventBase):
    """Buffers, by qualified name, with elements that were non-finite at the start: those are exempt."""

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
    """The ladder ended in `halt`; `summary.in_place` says which state the model is left in."""

    event: Literal["run_halted"] = "run_halted"
    reason: str
    summary: RunSummary | None = None


class RunFinishedEvent(EventBase):
    """The schedule is done, or the run stopped in good order when asked to."""

    event: Literal["run_finished"] = "run_finished"
    status: Literal[RunStatus.FINISHED, RunStatus.INTERRUPTED]
    summary: RunSummary


class ExitClassification(enum.StrEnum):
    """Why a worker process is gone."""

    FINISHED = "finished"
    HALTED = "halted"
    INTERRUPTED = "interrupted"
    BAD_INPUT = "bad_input"
    EXCEPTION = "exception"
    KILLED = "killed"
    OUT_OF_MEMORY = "out_of_memory"
    STALLED = "stalled"


ORDERLY_EXITS = frozenset({ExitClassification.FINISHED, ExitClassification.HALTED, ExitClassification.INTERRUPTED})
"""The exits that mean no harm: the run itself chose them."""


class _CheckpointEvent(EventBase):
    """The fields of the three checkpoint events; `path` is relative to the run directory."""

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


class WorkerStartedEvent(EventBase):
    """The parent started a worker process.

    Attributes:
        pid: its process id.
        restarts: restarts spent so far within the window.
    """

    event: Literal["worker_started"] = "worker_started"
    pid: PositiveInt
    restarts: NonNegativeInt = 0


class WorkerExitedEvent(EventBase):
    """A worker process is gone.

    Attributes:
        pid: its process id.
        exit_code: what it exited with, None where a signal ended it.
        signal: name of the signal that ended it, such as `SIGKILL`, else None.
        classification: why.
        reason: more, where more is known, such as the last line of its traceback.
    """

    event: Literal["worker_exited"] = "worker_exited"
    pid: PositiveInt
    exit_code: int | None
    signal: str | None
    classification: ExitClassification
    reason: str | None = None


class WorkerStalledEvent(EventBase):
    """A worker's heartbeat has been still for `seconds`."""

    event: Literal["worker_stalled"] = "worker_stalled"
    pid: PositiveInt
    seconds: Number
