"""What the events of a run tell of where it stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from supervisor.events import schema
from supervisor.events.headroom_event import describe_headroom
from supervisor.events.incident_line import names_of
from supervisor.events.reading_file import said_of_rows
from supervisor.events.schema import Event, RunStatus, RunSummary
from supervisor.evidence import Blame
from supervisor.records import ActionName, SignalName
from supervisor.report.account import Accounting
from supervisor.report.durations import duration
from supervisor.report.run_status import RunState, Status
from supervisor.report.times import RunTimes
from supervisor.report.warnings import Warnings
from supervisor.tracebacks import last_line

__all__ = ["RunFacts"]

_OF_AN_UPDATE = (
    schema.StepEvent,
    schema.SignalEvent,
    schema.DecisionEvent,
    schema.IncidentClosedEvent,
    schema.RunFinishedEvent,
    schema.RunHaltedEvent,
)

_LAST = ("metrics", "lr_scale")
_AS_IN_SUMMARY = ("bad_batches", "incidents", "incidents_by_signal", "cured_by", "cures")
_STATES = {
    RunStatus.FINISHED: RunState.FINISHED,
    RunStatus.INTERRUPTED: RunState.INTERRUPTED,
    RunStatus.UNSAVED: RunState.UNSAVED,
}


class RunFacts:
    """What the events that count told so far; keeps counts, not events.

    Attributes:
        accounting: the account of the time; it is told every event, also those that a resume made void.
        saved: whether a checkpoint was written at all.
        rejected: checkpoints that were found bad, or that the run has left behind; relative paths.
    """

    def __init__(self) -> None:
        self.accounting = Accounting()
        self.saved = False
        self.rejected: set[str] = set()
        self._fields: dict[str, object] = {}
        self._times = RunTimes()
        self._warnings = Warnings()
        self._attempted = 0
        # How the run had ended before the worker that was started last, until that one goes on.
        self._ended: tuple[object, object] | None = None
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

    def tell(self, event: Event, *, void: bool = False) -> None:
        """Take in the next event.

        Args:
            event: of the parent, or of any rank; of several ranks rank 0 speaks for all: they act alike.
            void: a resume has made it void: its time has passed, and nothing else of it counts.
        """
        self.accounting.tell(event)
        if void or event.rank:
            return
        self._fields.setdefault("started", event.time)
        self._fields.update(updated=event.time, run_id=event.run_id)
        self._times.tell(event, self.accounting.timeline.now)
        self._warnings.tell(event)
        self._tell_state(event)
        self._tell_numbers(event)
        self._tell_incident(event)
        self._tell_checkpoint(event)

    @property
    def position(self) -> int:
        """Steps used up so far: the schedule position that comes next."""
        return self._times.position

    def status(self) -> Status:
        """Where the run stands, as far as the log tells."""
        account = self.accounting.account
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
                "steps": self._end_of_schedule(),
                "seconds": account.seconds,
                "account": account,
                "goodput": account.goodput,
                "mttr_seconds": self._times.mttr_seconds,
                "warnings": self._warnings.count,
                "last_warnings": self._warnings.last,
                **self._as_summed_up(undone),
            }
        )

    def _end_of_schedule(self) -> int | None:
        steps = self._fields.get("steps")
        # A loop of one's own can go on beyond the end that it began with.
        return steps if isinstance(steps, int) and steps >= self._times.position else None

    def _as_summed_up(self, undone: int) -> dict[str, object]:
        if (summary := self._summary) is None:
            return {}
        counts = {"applied_updates": summary.applied_steps + undone, "flagged_updates": summary.skipped_steps}
        return {**counts, **{name: getattr(summary, name) for name in _AS_IN_SUMMARY}}

    def _tell_state(self, event: Event) -> None:
        match event:
            case schema.WorkerStartedEvent():
                if event.steps is not None:
                    self._fields["steps"] = event.steps
                if "state" in self._fields:
                    self._ended = self._ended or (self._fields["state"], self._fields.get("reason"))
                    self._fields.update(state=RunState.RUNNING, reason=None)
            case schema.RunStartedEvent() | schema.RunResumedEvent():
                self._fields.update(state=RunState.RUNNING, reason=None)
                self._ended = self._summary = None
                if event.steps is not None:
                    self._fields["steps"] = event.steps
                if isinstance(event, schema.RunResumedEvent) and event.ladder_begins_anew:
                    self._fields.update(rung=None, open_incident=None)
            case schema.RunFinishedEvent():
                self._end(_STATES.get(event.status, RunState.INTERRUPTED), event.summary.reason)
                self._sum_up(event.summary)
                if event.status is RunStatus.FINISHED:
                    self._fields["steps"] = event.summary.steps
            case schema.RunHaltedEvent():
                self._end(RunState.HALTED, event.reason)
                self._fields.update(rung=None, open_incident=None)
                if event.summary is not None:
                    self._sum_up(event.summary)
            case schema.WorkerStalledEvent() if self._fields.get("state") is RunState.RUNNING:
                silent = f"worker {event.pid} has not given a sign of life for {duration(event.seconds)}"
                self._fields.update(state=RunState.STALLED, reason=silent)
            case schema.WorkerExitedEvent():
                self._tell_exit(event)

    def _tell_exit(self, event: schema.WorkerExitedEvent) -> None:
        if self._fields.get("state") not in (RunState.RUNNING, RunState.STALLED):
            # Once the end is on record, nothing that the process does later changes it.
            return
        orderly = event.classification in (*schema.ORDERLY_EXITS, schema.ExitClassification.BAD_INPUT)
        if orderly and self._ended is not None:
            # It did not get as far as to go on: all is as it was.
            self._fields["state"], self._fields["reason"] = self._ended
        elif event.classification is schema.ExitClassification.BAD_INPUT and event.reason:
            self._fields["reason"] = last_line(event.reason)
        elif not orderly:
            why = last_line(event.reason) or event.signal or f"exit code {event.exit_code}"
            gone = f"worker {event.pid} is gone: {event.classification} ({why})"
            gone += f"; {said_of_rows(event.rows)}" if event.rows else ""
            self._fields.update(state=RunState.RUNNING, reason=gone)

    def _end(self, state: RunState, reason: str | None) -> None:
        self._ended = None
        self._fields.update(state=state, reason=reason)

    def _sum_up(self, summary: RunSummary) -> None:
        self._summary = summary
        self._quarantined = dict.fromkeys(summary.quarantined)
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
            case schema.SignalEvent() if event.signal is SignalName.INITIAL_SCALE:
                self._fields["initial_scale"] = _described(event.model_extra or {})
            case schema.HeadroomEvent():
                self._fields["headroom"] = f"step {event.step}: {describe_headroom(event)}"

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
                self.saved = True
                # The same path again is a new checkpoint: it is newest, and on probation.
                self._checkpoints.pop(event.path, None)
                self._checkpoints[event.path] = False
                self.rejected.discard(event.path)
            case schema.CheckpointPromotedEvent():
                self._checkpoints[event.path] = True
            case schema.RunResumedEvent(path=str(path)):
                # Its own line may be among those that the resume made void.
                self._checkpoints.setdefault(path, False)
            case schema.CheckpointRejectedEvent():
                self._checkpoints.pop(event.path, None)
                self.rejected.add(event.path)


def _described(scales: Mapping[str, Any]) -> str:
    """`weights of an unusual scale (19.5): a.weight, b.weight`, by the details of the signal."""
    scale = scales.get("scale")
    number = f" ({scale:.3g})" if isinstance(scale, int | float) else ""
    return f"weights of an unusual scale{number}: {names_of(tuple(scales.get('tensors') or ()))}"
