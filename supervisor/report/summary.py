"""What a run came to, for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from supervisor.events.schema import RunStatus, RunSummary
from supervisor.report.status_view import duration
from supervisor.run_layout import RunLayout

__all__ = ["compare_metrics", "render_summary"]


def render_summary(summary: RunSummary, run_dir: Path | None = None) -> RenderableType:
    """The end-of-run summary: steps, incidents and cures, metrics beside baselines, where the logs are.

    Args:
        summary: what to show.
        run_dir: where the run wrote, as the user typed it; None where it wrote nothing.
    """
    parts: list[RenderableType] = [Text(_headline(summary), style="bold"), _facts(summary, run_dir)]
    if summary.incidents_by_signal or summary.cured_by:
        parts += [Text(), _counts(summary)]
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


def _headline(summary: RunSummary) -> str:
    ended = {
        RunStatus.FINISHED: "Finished",
        RunStatus.INTERRUPTED: "Interrupted; to go on, run again with --resume",
        RunStatus.HALTED: "Halted by the policy; the model is left in the newest good state",
    }
    return ended[summary.status]


def _facts(summary: RunSummary, run_dir: Path | None) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("steps", f"{summary.steps}: {summary.applied_steps} applied")
    table.add_row("skipped", f"{summary.skipped_steps} flagged updates discarded")
    table.add_row("incidents", str(summary.incidents))
    if summary.final_loss is not None:
        table.add_row("final loss", f"{summary.final_loss:.4g}")
    if summary.lr_scale != 1.0:
        table.add_row("learning rate", f"cut to {summary.lr_scale:.4g} of the nominal one")
    table.add_row("wall time", duration(summary.seconds))
    if summary.goodput is not None:
        table.add_row("goodput", f"{summary.goodput:.1%}")
    if run_dir is not None:
        table.add_row("logs", Text(str(RunLayout(run_dir).events)))
    return table


def _counts(summary: RunSummary) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("incidents by kind")
    table.add_column("", justify="right")
    table.add_column("cured by")
    table.add_column("", justify="right")
    kinds = [(str(name), str(count)) for name, count in summary.incidents_by_signal.items()]
    cures = [(str(name), str(count)) for name, count in summary.cured_by.items()]
    for index in range(max(len(kinds), len(cures))):
        kind = kinds[index] if index < len(kinds) else ("", "")
        cure = cures[index] if index < len(cures) else ("", "")
        table.add_row(*kind, *cure)
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
