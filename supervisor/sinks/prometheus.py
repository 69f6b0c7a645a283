"""Prometheus: an endpoint that says where the run stands, as long as the run goes on."""

from __future__ import annotations

from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    start_http_server,
)

from supervisor.display import writable
from supervisor.events import schema
from supervisor.events.schema import Event
from supervisor.records import ActionName, SignalName
from supervisor.report.account import Accounting
from supervisor.report.run_status import RunState
from supervisor.sinks.base import AboutRun, Memory, Sink, SinkError
from supervisor.sinks.metric_names import METRICS

__all__ = ["PrometheusSink"]

_STEP_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_INCIDENT_BUCKETS = (0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
_BUCKETS = {
    "supervisor_step_duration_seconds": _STEP_BUCKETS,
    "supervisor_incident_duration_seconds": _INCIDENT_BUCKETS,
}
_KINDS = {"gauge": Gauge, "counter": Counter}
_STATES = tuple(state.value for state in (RunState.RUNNING, RunState.STALLED, *map(RunState, schema.RunStatus)))
_OUTCOMES = {"checkpoint_saved": "saved", "checkpoint_promoted": "promoted", "checkpoint_rejected": "rejected"}
_KNOWN_VALUES = {
    "supervisor_run_state": _STATES,
    "supervisor_incidents_total": tuple(name.value for name in SignalName),
    "supervisor_recoveries_total": tuple(name.value for name in ActionName),
    "supervisor_actions_total": tuple(name.value for name in ActionName),
    "supervisor_failed_actions_total": tuple(name.value for name in ActionName),
    "supervisor_checkpoints_total": tuple(_OUTCOMES.values()),
    "supervisor_worker_exits_total": tuple(kind.value for kind in schema.ExitClassification),
}
"""Labels whose values are known beforehand are there from the start, at 0: a rate sees the first one."""


class PrometheusSink(Sink):
    """Serves metrics, in a registry of its own.

    It is told the whole log by each process, so that its numbers go on after a resume. What a resume takes back counts
    as long as the process lasts that was told it, for a counter never goes down.

    Args:
        about: the run.
        host: address to listen on.
        port: port to listen on; 0: a free one.
    """

    recalls = True

    def __init__(self, about: AboutRun, host: str, port: int) -> None:
        self._about = about
        self._host, self._port = host, port
        # When a counter was made says when this process began, which the log says better.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._metrics: dict[str, Any] = {metric.name: self._made(metric) for metric in METRICS}
        for name, values in _KNOWN_VALUES.items():
            for value in values:
                self._metrics[name].labels(value)
        self._accounting = Accounting()
        self._updates = 0
        self._flagged: set[int] = set()
        self._incidents: set[tuple[int, str]] = set()
        self._quarantined: set[int | str] = set()
        self._server: Any = None
        self._set("supervisor_learning_rate_scale", 1.0)
        self._set("supervisor_ladder_rung", -1)

    def open(self, memory: Memory) -> str | None:
        """Begin to serve.

        Raises:
            SinkError: the address cannot be listened on.
        """
        try:
            self._server, _ = start_http_server(self._port, self._host, self.registry)
        except (OSError, OverflowError) as error:
            where = f"{self._host} port {self._port}"
            fix = "write another `port`, or 0 for a free one"
            raise SinkError(f"cannot serve on {where} ({getattr(error, 'strerror', None) or error}): {fix}") from error
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._server.server_port}/metrics"

    def recall(self, event: Event, *, void: bool) -> None:
        """As `tell`: nothing of it is kept from one process to the next."""
        self.tell(event, void=void)

    def tell(self, event: Event, *, void: bool) -> None:
        """Count an event in."""
        self._accounting.tell(event)
        if void:
            return
        self._set("supervisor_last_event_timestamp_seconds", event.time.timestamp())
        self._tell_run(event)
        self._tell_training(event)
        self._tell_incident(event)
        self._tell_checkpoint(event)

    def close(self) -> None:
        """Serve no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _made(self, metric: Any) -> Any:
        if metric.kind == "histogram":
            buckets = _BUCKETS[metric.name]
            return Histogram(metric.name, metric.help, metric.labels, registry=self.registry, buckets=buckets)
        return _KINDS[metric.kind](metric.name, metric.help, metric.labels, registry=self.registry)

    def _set(self, name: str, value: float, *labels: str) -> None:
        metric = self._metrics[name]
        (metric.labels(*map(writable, labels)) if labels else metric).set(value)

    def _count(self, name: str, *labels: str, by: float = 1) -> None:
        metric = self._metrics[name]
        (metric.labels(*map(writable, labels)) if labels else metric).inc(by)

    def _tell_run(self, event: Event) -> None:
        match event:
            case schema.RunStartedEvent():
                about = (self._about.run_id, self._about.name, event.trainer or "", event.device or "")
                self._set("supervisor_run_info", 1, *about)
                self._begin(event.steps, 0)
            case schema.RunResumedEvent():
                self._begin(event.steps, event.checkpoint_step)
            case schema.RunHaltedEvent():
                self._be("halted")
            case schema.RunFinishedEvent():
                self._set("supervisor_step", event.summary.steps)
                self._be(event.status.value)
            case schema.WorkerStalledEvent():
                self._be("stalled")
            case schema.WorkerStartedEvent():
                self._count("supervisor_worker_starts_total")
                if event.steps is not None:
                    self._set("supervisor_planned_steps", event.steps)
            case schema.WorkerExitedEvent():
                self._count("supervisor_worker_exits_total", event.classification.value)
            case schema.WarningEvent():
                self._count("supervisor_warnings_total")

    def _begin(self, steps: int | None, at: int) -> None:
        self._be("running")
        self._set("supervisor_step", at)
        if steps is not None:
            self._set("supervisor_planned_steps", steps)

    def _be(self, state: str) -> None:
        for name in _STATES:
            self._set("supervisor_run_state", float(name == state), name)
        self._spend()

    def _spend(self) -> None:
        """Say where the time went so far."""
        account = self._accounting.account
        for name, seconds in account.parts.items():
            self._set("supervisor_wall_time_seconds", seconds, name)
        if account.goodput is not None:
            self._set("supervisor_goodput_ratio", account.goodput)

    def _tell_training(self, event: Event) -> None:
        if event.update is not None and event.update >= self._updates and not _is_a_resume(event):
            self._count("supervisor_updates_total", by=event.update + 1 - self._updates)
            self._updates = event.update + 1
        match event:
            case schema.StepEvent():
                self._set("supervisor_step", (event.step or 0) + 1)
                self._set("supervisor_loss", event.loss)
                self._set("supervisor_gradient_norm", event.grad_norm)
                self._set("supervisor_learning_rate", event.lr)
                self._set("supervisor_learning_rate_scale", event.lr_scale)
                # After a resume nothing else says whether the incident of the checkpoint is still open.
                self._set("supervisor_incident_open", float(event.rung is not None))
                self._set("supervisor_ladder_rung", -1 if event.rung is None else event.rung)
                self._metrics["supervisor_step_duration_seconds"].observe(event.step_seconds)
                self._spend()
            case schema.MetricsEvent():
                for name, value in event.metrics.items():
                    self._set("supervisor_evaluation", value, name)
            case schema.LrRestoredEvent():
                self._set("supervisor_learning_rate_scale", event.lr_scale)
            case schema.ActionAppliedEvent(lr_scale=float(scale)):
                self._set("supervisor_learning_rate_scale", scale)

    def _tell_incident(self, event: Event) -> None:
        match event:
            case schema.IncidentOpenedEvent():
                # One that comes again after a resume bears the same number, and is the same.
                named = (event.incident, str(next(iter(event.signals), "unknown")))
                if named not in self._incidents:
                    self._incidents.add(named)
                    self._count("supervisor_incidents_total", named[1])
                self._set("supervisor_incident_open", 1)
            case schema.DecisionEvent():
                self._set("supervisor_ladder_rung", event.rung)
                if event.update is not None and event.update not in self._flagged:
                    self._flagged.add(event.update)
                    self._count("supervisor_flagged_updates_total")
            case schema.ActionAppliedEvent():
                self._count("supervisor_actions_total", event.action.value)
            case schema.ActionFailedEvent():
                self._count("supervisor_failed_actions_total", event.action.value)
            case schema.QuarantinedEvent():
                self._quarantined |= {*event.dataset_indices}
                self._set("supervisor_quarantined_rows", len(self._quarantined))
            case schema.IncidentClosedEvent():
                self._count("supervisor_recoveries_total", event.cured_by.value)
                self._metrics["supervisor_incident_duration_seconds"].observe(event.seconds)
                self._no_incident()
            case schema.RunHaltedEvent():
                self._no_incident()

    def _no_incident(self) -> None:
        self._set("supervisor_incident_open", 0)
        self._set("supervisor_ladder_rung", -1)

    def _tell_checkpoint(self, event: Event) -> None:
        match event:
            case schema.CheckpointSavedEvent():
                self._set("supervisor_last_checkpoint_step", event.checkpoint_step)
            case schema.CheckpointPromotedEvent():
                self._set("supervisor_last_good_checkpoint_step", event.checkpoint_step)
        if event.event in _OUTCOMES:
            self._count("supervisor_checkpoints_total", _OUTCOMES[event.event])


def _is_a_resume(event: Event) -> bool:
    """Whether its update is one that comes next, not one that was attempted."""
    return isinstance(event, schema.RunResumedEvent)
