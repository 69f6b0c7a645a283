"""A run's status for people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from supervisor.records import ActionName, SignalName
from supervisor.report.status import RunState, Status

__all__ = ["render_status"]

_STYLES = {RunState.FINISHED: "green", RunState.HALTED: "bold red", RunState.CRASHED: "bold red"}


def render_status(status: Status, now: datetime | None = None) -> RenderableType:
    """A table of what is known; what is not known is left out.

    Args:
        status: what to show.
        now: an aware time; adds how old the last event is.
    """
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")

    def row(name: str, value: str | Text | None) -> None:
        if value:
            table.add_row(name, value if isinstance(value, Text) else Text(value))

    row("run", status.run_id)
    row("state", Text(_state(status), style=_STYLES.get(status.state, "")))
    if status.step is not None:
        row("step", f"{status.step}{'' if status.steps is None else f' of {status.steps}'}")
    if status.update is not None:
        flagged = f"{status.applied_updates} applied, {status.flagged_updates} flagged and discarded"
        row("updates", f"{status.update + 1} attempted: {flagged}")
    row("loss", _number(status.loss))
    row("gradient norm", _number(status.grad_norm))
    row("learning rate", None if status.lr is None else f"{status.lr:.4g} x {status.lr_scale:.4g}")
    row("incidents", _incidents(status))
    row("cured by", _counts(status.cured_by))
    row("rung", None if status.rung is None else f"{status.rung} (incident {status.open_incident} is open)")
    row("last checkpoint", status.last_checkpoint)
    row("last good", status.last_good_checkpoint)
    row("metrics", ", ".join(f"{name} {value:.4g}" for name, value in status.metrics.items()))
    row("goodput", None if status.goodput is None else f"{status.goodput:.1%}")
    row("time to recover", None if status.mttr_seconds is None else f"{status.mttr_seconds:.3g} s")
    if status.updated is not None:
        age = "" if now is None else f" ({duration((now - status.updated).total_seconds())} ago)"
        row("last event", f"{status.updated:%Y-%m-%d %H:%M:%S} UTC{age}")
    return table


def duration(seconds: float) -> str:
    """Seconds as a person would say them: `48 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds < 60:
        return f"{max(seconds, 0.0):.3g} s"
    total = round(seconds)
    for size, name, smaller, smaller_name in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if total >= size:
            rest = total % size // smaller
            return f"{total // size} {name}" + (f" {rest} {smaller_name}" if rest else "")
    raise AssertionError(total)


def _state(status: Status) -> str:
    return f"{status.state}: {status.reason}" if status.reason else str(status.state)


def _incidents(status: Status) -> str:
    kinds = _counts(status.incidents_by_signal)
    return f"{status.incidents}{f' ({kinds})' if kinds else ''}"


def _counts(counts: Mapping[SignalName, int] | Mapping[ActionName, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"
