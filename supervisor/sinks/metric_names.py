"""Every metric that the Prometheus sink exports: its name, what it is, its labels and what it says."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["METRICS", "Metric"]


class Metric(NamedTuple):
    """One metric.

    Attributes:
        name: as it is exported; of a histogram without `_bucket`, `_sum` and `_count`.
        kind: of metric.
        help: what it says, in one line.
        labels: names of its labels.
    """

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


METRICS = (
    Metric("supervisor_run_info", "gauge", "1, with what the run is.", ("run_id", "run", "trainer", "device")),
    Metric("supervisor_run_state", "gauge", "1 for the state that the run is in, 0 for all others.", ("state",)),
    Metric("supervisor_step", "gauge", "Steps used up: the schedule position that comes next."),
    Metric("supervisor_planned_steps", "gauge", "Where the schedule ends, in steps."),
    Metric("supervisor_last_event_timestamp_seconds", "gauge", "When the last event was written, in Unix time."),
    Metric("supervisor_loss", "gauge", "Loss of the last logged step."),
    Metric("supervisor_gradient_norm", "gauge", "Total L2 gradient norm of the last logged step, before clipping."),
    Metric("supervisor_learning_rate", "gauge", "Nominal learning rate, without the supervisor's cuts."),
    Metric("supervisor_learning_rate_scale", "gauge", "Product of the cuts of the learning rate in force."),
    Metric("supervisor_evaluation", "gauge", "The trainer's last evaluation, by the name of the metric.", ("metric",)),
    Metric("supervisor_goodput_ratio", "gauge", "Useful preserved training time over wall time, 0 to 1."),
    Metric("supervisor_wall_time_seconds", "gauge", "Where the wall time of the run went.", ("account",)),
    Metric("supervisor_incident_open", "gauge", "1 while an incident is open, else 0."),
    Metric("supervisor_ladder_rung", "gauge", "Rung used last in the open incident, from 0; -1 when none is open."),
    Metric("supervisor_quarantined_rows", "gauge", "Rows of the data set that are left out."),
    Metric("supervisor_last_checkpoint_step", "gauge", "Schedule position of the newest checkpoint."),
    Metric("supervisor_last_good_checkpoint_step", "gauge", "Schedule position of the newest good checkpoint."),
    Metric("supervisor_updates_total", "counter", "Attempted optimizer updates."),
    Metric("supervisor_flagged_updates_total", "counter", "Updates that were flagged and discarded."),
    Metric("supervisor_incidents_total", "counter", "Incidents, each under its first signal.", ("signal",)),
    Metric("supervisor_recoveries_total", "counter", "Incidents that are over, by the action that cured.", ("action",)),
    Metric("supervisor_actions_total", "counter", "Recovery actions that did their work.", ("action",)),
    Metric("supervisor_failed_actions_total", "counter", "Recovery actions that could not do theirs.", ("action",)),
    Metric("supervisor_checkpoints_total", "counter", "Checkpoints saved, promoted, rejected.", ("outcome",)),
    Metric("supervisor_worker_starts_total", "counter", "Worker processes started."),
    Metric("supervisor_worker_exits_total", "counter", "Worker processes that ended, and why.", ("classification",)),
    Metric("supervisor_warnings_total", "counter", "Warnings in the event log."),
    Metric("supervisor_step_duration_seconds", "histogram", "Wall time of the logged steps."),
    Metric("supervisor_incident_duration_seconds", "histogram", "From the first signal to the end of the cool-down."),
)
