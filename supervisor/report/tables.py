"""Where a run stands and what it came to, as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from supervisor.display import shortened
from supervisor.events.schema import RunStatus, RunSummary
from supervisor.events.step_line import counted
from supervisor.events.time_account import TimeAccount
from supervisor.records import ActionName, SignalName
from supervisor.report.durations import duration, told_account
from supervisor.report.run_status import RunState, Status
from supervisor.run_layout import RunLayout

__all__ = ["compare_metrics", "render_status", "render_summary", "status_facts"]

LONGEST_CELL = 2000
"""How much of a value is shown, in characters."""

_STYLES = {
    RunState.FINISHED: "green",
    RunState.HALTED: "bold red",
    RunState.UNSAVED: "bold red",
    RunState.DEAD: "bold red",
    RunState.STALLED: "bold red",
}
# Their loss is that of the last applied update, whose step need not be a logged one.
_SUMMED_UP = (RunState.FINISHED, RunState.INTERRUPTED, RunState.HALTED, RunState.UNSAVED)
_ENDED = {
    RunStatus.FINISHED: "Finished",
}


def render_status(status: Status) -> RenderableType:
    """A table of what is known; what is not known is left out."""
    facts: dict[str, str | Text | None] = {**status_facts(status)}
    facts["state"] = Text(str(facts["state"]), style=_STYLES.get(status.state, ""))
    return _facts(facts)


def status_facts(status: Status) -> dict[str, str | None]:
    """What is known of where a run stands, each with its name; None for what is not known."""
    of_steps = "" if status.steps is None else f" of {status.steps}"
    applied = (status.applied_updates or 0) - status.undone_updates
    judged = f"{applied} applied, {status.flagged_updates} flagged and discarded"
    judged += f", {status.undone_updates} undone by going back" if status.undone_updates else ""
    attempted = None if status.update is None else f"{status.update + 1} attempted: {judged}"
    state = f"{status.state}: {status.reason}" if status.reason else str(status.state)
    kinds = _counts(status.incidents_by_signal)
    return {
        "run": status.run_id,
        "state": state,
        "step": None if status.step is None else f"{status.step}{of_steps}",
        "updates": attempted,
        "loss": _number(status.loss) if status.state in _SUMMED_UP else _at_logged_step(_number(status.loss), status),
        "gradient norm": _at_logged_step(_number(status.grad_norm), status),
        "learning rate": _learning_rate(status),
        "incidents": f"{status.incidents}{f' ({kinds})' if kinds else ''}",
        "cured by": _counts(status.cured_by),
        "at the start": status.initial_scale,
        "headroom": status.headroom,
        "warnings": _warnings(status),
        **_bad_batches(status),
        "cures in force": ", ".join(status.cures) or None,
        "rung": None if status.rung is None else f"{status.rung} (incident {status.open_incident} is open)",
        "last checkpoint": status.last_checkpoint,
        "last good": status.last_good_checkpoint,
        "metrics": ", ".join(f"{name} {value:.4g}" for name, value in status.metrics.items()),
        "wall time": _wall_time(status.account),
        "goodput": _share(status.goodput),
        "time to recover": None if status.mttr_seconds is None else f"{status.mttr_seconds:.3g} s",
        "heartbeat": None if status.heartbeat_seconds is None else f"{duration(status.heartbeat_seconds)} ago",
        "last event": None if status.updated is None else f"{status.updated:%Y-%m-%d %H:%M:%S} UTC",
    }


def _at_logged_step(value: str | None, status: Status) -> str | None:
    """A value of the last `step` event, with its step where the run has got further."""
    behind = value is not None and status.logged_step is not None and status.logged_step + 1 != status.step
    return f"{value} (at step {status.logged_step})" if behind else value


def _learning_rate(status: Status) -> str | None:
    if status.lr is None:
        return _cut(status.lr_scale)
    return f"{_at_logged_step(f'{status.lr:.4g}', status)} x {status.lr_scale:.4g}"


def _cut(lr_scale: float) -> str | None:
    return None if lr_scale == 1.0 else f"cut to {lr_scale:.4g} of the nominal one"


def _warnings(status: Status) -> str | None:
    if not status.warnings:
        return None
    more = status.warnings - len(status.last_warnings)
    return "\n".join([f"{status.warnings}{', the last that differ' if more else ''}:", *status.last_warnings])


def _bad_batches(of: Status | RunSummary) -> dict[str, str | None]:
    """How many batches were discarded for their data, and which rows are left out since.

    Without experiments nobody has judged the batches that such rows were found in, and rows may be left out from the
    start: then the rows stand by themselves, beside no count.
    """
    rows = of.quarantined
    shown = ", ".join(str(row) for row in rows[:10]) + (" ..." if len(rows) > 10 else "")
    if not of.bad_batches:
        return {"rows left out": f"{len(rows)} of the data set: {shown}" if rows else None}
    counted = "1 row of the data set is" if len(rows) == 1 else f"{len(rows)} rows of the data set are"
    return {"bad batches": f"{of.bad_batches}{f' ({counted} left out: {shown})' if rows else ''}"}


def render_summary(summary: RunSummary, run_dir: Path | None = None) -> RenderableType:
    """The end-of-run summary: steps, incidents and cures, metrics beside baselines, where the logs are.

    Args:
        summary: what to show.
        run_dir: where the run wrote, as the user typed it; None where it wrote nothing.
    """
    parts: list[RenderableType] = [Text(_ended(summary, run_dir), style="bold"), _sums(summary, run_dir)]
    if summary.incidents_by_signal or summary.cured_by:
        parts += [Text(), _kinds_and_cures(summary)]
    if summary.metrics:
        parts += [Text(), _metrics(summary.metrics)]
    return Group(*parts)


def compare_metrics(metrics: Mapping[str, float]) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Sort metrics beside their baselines.

    A key `<name>_<metric>`, where `<metric>` is a key of its own, is the baseline `<name>` of that metric. Any
    other key is a metric.

    Args:
        metrics: values by key.

    Returns:
        For each metric its baselines by name; and the names of all baselines. In order of first appearance.
    """
    rows: dict[str, dict[str, float]] = {}
    names: list[str] = []
    owners = {key: _metric_of(key, metrics) for key in metrics}
    for key, owner in owners.items():
        if owner is None:
            rows.setdefault(key, {})
            continue
        name = key.removesuffix(f"_{owner}")
        rows.setdefault(owner, {})[name] = metrics[key]
        if name not in names:
            names.append(name)
    return rows, names


def _metric_of(key: str, metrics: Mapping[str, float]) -> str | None:
    fitting = [metric for metric in metrics if key.endswith(f"_{metric}") and len(key) > len(metric) + 1]
    # A baseline is not itself measured against baselines.
    return next((metric for metric in fitting if _metric_of(metric, metrics) is None), None)


def _ended(summary: RunSummary, run_dir: Path | None) -> str:
    if summary.status is RunStatus.UNSAVED:
        return f"Ended, and not saved: {summary.reason}"
    if summary.status is RunStatus.INTERRUPTED:
        how = "run again with resume=True" if run_dir is None else f"supervisor resume {run_dir}"
        return f"Interrupted; to go on: {how}"
    if summary.status is not RunStatus.HALTED:
        return _ENDED.get(summary.status) or summary.reason or str(summary.status)
    left = "as it stood before the flagged update" if summary.in_place else "in the newest good state"
    return f"Halted by the policy; the model is left {left}"


def _sums(summary: RunSummary, run_dir: Path | None) -> Table:
    where = "" if run_dir is None else f": supervisor events {run_dir} --event warning"
    return _facts(
        {
            "steps": f"{summary.steps}: {summary.applied_steps} applied",
            "skipped": f"{counted(summary.skipped_steps, 'flagged update')} discarded",
            **_bad_batches(summary),
            "incidents": str(summary.incidents),
            "cures in force": ", ".join(summary.cures) or None,
            "warnings": f"{summary.warnings}{where}" if summary.warnings else None,
            "final loss": _number(summary.final_loss),
            "learning rate": _cut(summary.lr_scale),
            "wall time": _wall_time(summary.account) or duration(summary.seconds),
            "goodput": _share(summary.goodput),
            "logs": None if run_dir is None else str(RunLayout(run_dir).events),
        }
    )


def _facts(rows: Mapping[str, str | Text | None]) -> Table:
    """A row for each name that has a value."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        if value:
            # A text of others, as a warning's, may be as long as it likes.
            shown = Text(shortened(str(value), LONGEST_CELL), style=value.style if isinstance(value, Text) else "")
            table.add_row(name, shown)
    return table


def _kinds_and_cures(summary: RunSummary) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("incidents by kind")
    table.add_column("", justify="right")
    table.add_column("cured by")
    table.add_column("", justify="right")
    both = zip_longest(summary.incidents_by_signal.items(), summary.cured_by.items(), fillvalue=("", ""))
    for kind, cure in both:
        table.add_row(*(str(cell) for cell in (*kind, *cure)))
    return table


def _metrics(metrics: Mapping[str, float]) -> Table:
    rows, baselines = compare_metrics(metrics)
    table = Table(box=None, pad_edge=False)
    table.add_column("validation")
    table.add_column("this run", justify="right")
    for baseline in baselines:
        table.add_column(Text(baseline.replace("_", " ")), justify="right")
    for metric, values in rows.items():
        cells = [f"{values[baseline]:.4g}" if baseline in values else "" for baseline in baselines]
        table.add_row(Text(metric.replace("_", " ")), f"{metrics[metric]:.4g}", *cells)
    return table


def _counts(counts: Mapping[SignalName, int] | Mapping[ActionName, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"


def _wall_time(account: TimeAccount | None) -> str | None:
    return None if account is None or not account.seconds else told_account(account)


def _share(value: float | None) -> str | None:
    return None if value is None else f"{value:.1%}"
