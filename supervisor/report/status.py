"""Where a run stands, as far as its event log tells."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from supervisor.events import schema
from supervisor.events.base import Number, UtcTime
from supervisor.events.reader import read_events
from supervisor.events.schema import Event, RunSummary
from supervisor.evidence import Blame
from supervisor.records import ActionName, SignalName
from supervisor.report.durations import how_it_went
from supervisor.report.process_story import last_line
from supervisor.report.times import RunTimes
from supervisor.report.warnings import Warnings
from supervisor.run_layout import RunLayout

__all__ = ["RunState", "Status", "read_status", "status_of", "unless_gone"]

_OF_AN_UPDATE = (
    schema.StepEvent,
    schema.SignalEvent,
    schema.DecisionEvent,
    schema.IncidentClosedEvent,
    schema.RunFinishedEvent,
    schema.RunHaltedEvent,
)

_LAST = ("goodput", "metrics", "lr_scale")
_AS_IN_SUMMARY = ("bad_batches", "incidents", "incidents_by_signal", "cured_by", "cures")


class RunState(enum.StrEnum):
    """What a run is doing, or how it ended."""

    RUNNING = "running"
    FINISHED = "finished"
    HALTED = "halted"
    INTERRUPTED = "interrupted"
    UNSAVED = "unsaved"
    CRASHED = "crashed"
    NOT_RUNNING = "not running"
    UNKNOWN = "unknown"


class Status(BaseModel):
    """Where a run stands. As JSON it is strict: non-finite floats are the strings of the event log.

    Attributes:
        run_id: the run, None where no event tells.
        state: `running` until an event says otherwise; `not running` where its process is gone without one, as far as
            that is known here; `crashed` while its worker is to be restarted; `unknown` before it started.
        reason: why it halted or crashed, or how it is known not to run.
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
        last_checkpoint: the newest committed one, relative to the run directory.
        last_good_checkpoint: the newest good one.
        metrics: the last evaluation.
        seconds: wall time, without the time between an orderly end and a resume.
        goodput: useful preserved training time over wall time; see `RunTimes` for how it is estimated.
        mttr_seconds: mean time from detection to the next healthy applied step; likewise.
        cures: the cures of the set-up in force, in the order in which they were chosen.
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
    goodput: Number | None = None
    mttr_seconds: Number | None = None
    cures: tuple[str, ...] = ()
    warnings: int = 0
    last_warnings: tuple[str, ...] = ()
    started: UtcTime | None = None
    updated: UtcTime | None = None


def read_status(run_dir: Path) -> Status:
    """The status of the run in `run_dir`.

    Raises:
        InputError: there is no run here, or its log is damaged before its end.
    """
    return unless_gone(status_of(read_events(run_dir)), run_dir)


def unless_gone(status: Status, run_dir: Path) -> Status:
    """The status, but `not running` where the process that ran the directory is gone and its log does not say so."""
    reason = how_it_went(RunLayout(run_dir), status.updated) if status.state is RunState.RUNNING else None
    return status if reason is None else status.model_copy(update={"state": RunState.NOT_RUNNING, "reason": reason})


def status_of(events: Iterable[Event]) -> Status:
    """The status after `events`. Of several ranks rank 0 speaks for all: they act alike."""
    told = _Told()
    for event in events:
        if not event.rank:
            told.tell(event)
    return told.status()


class _Told:
    """What the events told so far; keeps counts, not events."""

    def __init__(self) -> None:
        self._fields: dict[str, object] = {}
        self._times = RunTimes()
        self._warnings = Warnings()
        self._attempted = 0
        self._summary: RunSummary | None = None  # while the run has ended: exact, where one step in many has a line
        self._flagged: set[int] = set()
        self._bad_batches = 0
        self._quarantined: dict[int | str, None] = {}
        self._incidents: set[int] = set()
        self._by_signal: Counter[SignalName] = Counter()
        self._cured_by: Counter[ActionName] = Counter()
        self._cures: tuple[str, ...] = ()
        # The newest incident until it is named, with its signals; the newest flagged update, with its first signal.
        self._unnamed: dict[int, tuple[SignalName, ...]] = {}
        self._first_signal: dict[int | None, SignalName] = {}
        self._checkpoints: dict[str, bool] = {}

    def tell(self, event: Event) -> None:
        self._fields.setdefault("started", event.time)
        self._fields.update(updated=event.time, run_id=event.run_id)
        self._times.tell(event)
        self._warnings.tell(event)
        self._tell_state(event)
        self._tell_numbers(event)
        self._tell_incident(event)
        self._tell_checkpoint(event)

    def status(self) -> Status:
        good = [path for path, is_good in self._checkpoints.items() if is_good]
        tried, flagged = self._attempted > 0, len(self._flagged)
        # Each update uses up a step: what is missing was gone back over, flagged updates among them.
        undone = max(0, self._attempted - self._times.position - (flagged - self._times.flagged_steps)) if tried else 0
        return Status.model_validate(
            {
                **self._fields,
                "step": self._times.position if "state" in self._fields else None,
                "update": self._attempted - 1 if tried else None,
                "applied_updates": self._attempted - flagged if tried else None,
                "undone_updates": undone,
                "flagged_updates": flagged,
                "bad_batches": self._bad_batches,
                "quarantined": tuple(self._quarantined),
                "incidents": len(self._incidents),
                "incidents_by_signal": self._by_signal,
                "cured_by": self._cured_by,
                "cures": self._cures,
                "last_checkpoint": next(reversed(self._checkpoints), None),
                "last_good_checkpoint": good[-1] if good else None,
                "seconds": self._times.seconds,
                "goodput": self._fields.get("goodput", self._times.goodput),
                "mttr_seconds": self._times.mttr_seconds,
                "warnings": self._warnings.count,
                "last_warnings": self._warnings.last,
                **self._as_summed_up(undone),
            }
        )

    def _as_summed_up(self, undone: int) -> dict[str, object]:
        if (summary := self._summary) is None:
            return {}
        counts = {"applied_updates": summary.applied_steps + undone, "flagged_updates": summary.skipped_steps}
        return {**counts, **{name: getattr(summary, name) for name in _AS_IN_SUMMARY}}

    def _tell_state(self, event: Event) -> None:
        match event:
            case schema.RunStartedEvent() | schema.RunResumedEvent():
                self._fields.update(state=RunState.RUNNING, reason=None)
                self._fields.pop("goodput", None)
                self._summary = None
                if event.steps is not None:
                    self._fields["steps"] = event.steps
            case schema.WorkerStartedEvent() if self._fields.get("state") is RunState.CRASHED:
                self._fields.update(state=RunState.RUNNING, reason=None)
            case schema.RunFinishedEvent():
                self._fields.update(state=RunState(event.status), reason=event.summary.reason)
                self._sum_up(event.summary)
            case schema.RunHaltedEvent():
                self._fields.update(state=RunState.HALTED, reason=event.reason, rung=None, open_incident=None)
                if event.summary is not None:
                    self._sum_up(event.summary)
            case schema.WorkerExitedEvent() if event.classification not in schema.ORDERLY_EXITS:
                why = last_line(event.reason) or event.signal or f"exit code {event.exit_code}"
                gone = f"worker {event.pid} is gone: {event.classification} ({why})"
                self._fields |= {"state": RunState.CRASHED, "reason": gone}

    def _sum_up(self, summary: RunSummary) -> None:
        self._summary = summary
        self._quarantined |= dict.fromkeys(summary.quarantined)
        told = {"loss": summary.final_loss, **{name: getattr(summary, name) for name in _LAST}}
        self._fields.update({name: value for name, value in told.items() if value not in (None, {})})

    def _tell_numbers(self, event: Event) -> None:
        if isinstance(event, _OF_AN_UPDATE) and event.update is not None:
            self._attempted = max(self._attempted, event.update + 1)
        match event:
            case schema.StepEvent():
                self._fields.update(loss=event.loss, grad_norm=event.grad_norm, lr=event.lr, lr_scale=event.lr_scale)
                self._fields["logged_step"] = event.step
            case schema.LrRestoredEvent():
                self._fields["lr_scale"] = event.lr_scale
            case schema.ActionAppliedEvent() if event.lr_scale is not None:
                self._fields["lr_scale"] = event.lr_scale
            case schema.MetricsEvent():
                self._fields["metrics"] = event.metrics

    def _tell_incident(self, event: Event) -> None:
        match event:
            case schema.QuarantinedEvent():
                self._quarantined |= dict.fromkeys(event.dataset_indices)
            case schema.SignalEvent(signal=SignalName.ODD_UPDATE):
                # It flags nothing by itself.
                return
            case schema.SignalEvent():
                self._first_signal = {event.update: self._first_signal.get(event.update, event.signal)}
            case schema.IncidentOpenedEvent():
                self._incidents.add(event.incident)
                self._unnamed = {event.incident: event.signals}
                self._fields["open_incident"] = event.incident
            case schema.DecisionEvent():
                self._fields["rung"] = event.rung
                if event.update is not None:
                    undone = 0 if event.evidence is None else event.evidence.gone_back_over
                    self._flagged.update(range(event.update - undone, event.update + 1))
                if event.evidence is not None and event.evidence.blame is Blame.DATA:
                    self._bad_batches += max(1, event.evidence.batches)
                named_by = self._unnamed.pop(event.incident, None)
                if named_by is not None and (name := next(iter(named_by), self._first_signal.get(event.update))):
                    self._by_signal[name] += 1
            case schema.CureChosenEvent():
                self._cures = (*self._cures, event.cure)
            case schema.IncidentClosedEvent():
                self._cured_by[event.cured_by] += 1
                self._fields.update(rung=None, open_incident=None)

    def _tell_checkpoint(self, event: Event) -> None:
        match event:
            case schema.CheckpointSavedEvent():
                # The same path again is a new checkpoint: it is newest, and on probation.
                self._checkpoints.pop(event.path, None)
                self._checkpoints[event.path] = False
            case schema.CheckpointPromotedEvent():
                self._checkpoints[event.path] = True
            case schema.RunResumedEvent(path=str(path)):
                # Its own line may be among those that the resume made void.
                self._checkpoints.setdefault(path, False)
            case schema.CheckpointRejectedEvent():
                self._checkpoints.pop(event.path, None)
