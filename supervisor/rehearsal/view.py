"""The score of a rehearsal for people."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from supervisor.rehearsal.score import FaultScore, Score, StrikeScore
from supervisor.report.tables import compare_metrics

__all__ = ["render_score"]

NOTHING = "-"


def render_score(score: Score) -> RenderableType:
    """What became of each fault, and of the run beside the one without faults."""
    return Group(_faults(score), Text(), _sums(score), Text(), _runs(score))


def _faults(score: Score) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("fault", "at batch", "detected", "diagnosed", "cured by"):
        table.add_column(name, no_wrap=name in ("fault", "at batch"), overflow="fold")
    for name in ("steps lost", "seconds lost"):
        table.add_column(name, justify="right")
    for fault in score.faults:
        each = [strike for strike in score.each if strike.fault == fault.fault]
        table.add_row(
            fault.kind,
            _where(each),
            _detected(fault),
            _diagnosed(fault),
            _counted(fault.cured_by, fault.strikes),
            str(fault.steps_lost) if each else NOTHING,
            _number(fault.seconds_lost) if each else NOTHING,
        )
    return table


def _where(each: list[StrikeScore]) -> str:
    if not each:
        return "never"
    return str(each[0].batch) if len(each) == 1 else f"{len(each)} times"


def _detected(fault: FaultScore) -> Text:
    if not fault.strikes:
        return Text(NOTHING)
    if not fault.detected:
        return Text("missed", style="bold red")
    late = f", {fault.longest_delay_steps} steps late" if fault.longest_delay_steps else ""
    missed = fault.strikes - fault.detected
    style = "bold red" if missed else ""
    text = _counted(fault.findings, fault.detected) + late + (f", {missed} missed" if missed else "")
    return Text(text, style=style)


def _diagnosed(fault: FaultScore) -> Text:
    if not fault.diagnosed:
        return Text(NOTHING)
    wrong = fault.diagnosed - fault.diagnosed_right
    verdict = "right" if not wrong else "wrong" if not fault.diagnosed_right else f"{wrong} wrong"
    return Text(f"{_counted(fault.causes, fault.diagnosed)}: {verdict}", style="bold red" if wrong else "")


def _counted(counts: Mapping[str, int], of: int) -> str:
    """`skip batch`, or `14 skip batch, 1 restart` where they differ or are not all."""
    named = {name.replace("_", " "): count for name, count in counts.items()}
    if not named:
        return NOTHING
    if list(named.values()) == [of]:
        return next(iter(named))
    return ", ".join(f"{count} {name}" for name, count in named.items())


def _sums(score: Score) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("detected", f"{score.detected} of {score.strikes}")
    judged = f"{score.diagnosed_right} of {score.diagnosed} right" if score.diagnosed else "nothing was diagnosed"
    table.add_row("diagnosed", judged)
    table.add_row("false alarms", f"{score.unexplained} flagged updates belong to no fault")
    table.add_row("lost", f"{score.steps_lost} steps, {score.seconds_lost:.1f} s")
    return table


def _runs(score: Score) -> Table:
    rehearsal, reference = score.rehearsal, score.reference
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("run")
    table.add_column("with faults", justify="right")
    if reference is not None:
        table.add_column("without", justify="right")
    ends = [rehearsal] if reference is None else [rehearsal, reference]
    # Baselines are the same in both: only what the run itself reached is shown.
    metrics, _ = compare_metrics({name: value for end in ends for name, value in end.metrics.items()})
    rows = [
        ("ended", [end.status or "did not end" for end in ends]),
        ("steps", [NOTHING if end.steps is None else str(end.steps) for end in ends]),
        ("final loss", [_number(end.final_loss) for end in ends]),
        *((name.replace("_", " "), [_number(end.metrics.get(name)) for end in ends]) for name in metrics),
        ("useful seconds", [_number(end.useful_seconds) for end in ends]),
        ("wall seconds", [_number(end.wall_seconds) for end in ends]),
        ("ETTR (useful / wall)", [NOTHING if end.ettr is None else f"{end.ettr:.2%}" for end in ends]),
    ]
    for name, cells in rows:
        table.add_row(name, *cells)
    return table


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
