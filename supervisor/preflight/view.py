"""What a preflight found, for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from supervisor.preflight.capacity import size
from supervisor.preflight.report import BadRow, DataCheck, Preflight, RowFault
from supervisor.report.durations import duration

__all__ = ["HEADS", "folded", "render_preflight"]

HEAD = 14
"""Columns before what was found."""
SHOWN = 5
"""Rows of a kind that are named; all of them are in the list and in `--json`."""

HEADS: dict[RowFault, str] = {
    RowFault.RAISES: "cannot be read",
    RowFault.NOT_FINITE: "not finite",
    RowFault.FAR_OUTSIDE: "far outside of its column",
}
"""What is wrong with a row, as it stands before what was found."""


def render_preflight(found: Preflight) -> list[str]:
    """Lines for a terminal or a file; the problems are not among them."""
    lines = [f"{found.job}: {found.trainer} on {found.device or 'no device yet'}, {found.steps:,} steps"]
    if found.build_seconds is not None:
        lines.append(_line("trainer", f"built in {duration(found.build_seconds)}"))
    lines += [*_steps(found), *_checkpoint(found)]
    if found.data is not None:
        lines += _data(found.data)
    if found.quarantine is not None:
        lines.append(_line("quarantine", f"{found.quarantine}: {_rows(found.quarantined)}"))
        lines.append(_line("", "name it in the job as `quarantine`, relative to the job file, and they are left out"))
    elif found.data is not None and found.data.bad_rows:
        lines.append(_line("quarantine", "no list was written: the data do not tell the indices of these rows"))
    lines += [_line("warning", text) for text in found.warnings]
    if not found.problems:
        lines.append(f"the job can run{_but(found)}")
    return lines


def folded(lines: Iterable[str], width: int) -> Iterator[str]:
    """The lines broken for a terminal of `width` columns; what goes on stands under what it belongs to."""
    for line in lines:
        own = len(line) - len(line.lstrip())
        indent = " " * max(own, HEAD if own else 0)
        yield from textwrap.wrap(line, max(width, 40), subsequent_indent=indent, break_on_hyphens=False)


def _steps(found: Preflight) -> list[str]:
    step = found.step
    if step is None:
        return []
    memory = size(step.peak_memory_bytes)
    if step.peak_cuda_bytes is not None:
        memory += f", and {size(step.peak_cuda_bytes)} on the device"
    lines = [
        _line(
            "step",
            f"{duration(step.seconds)} (median of {max(step.applied - 1, 1)}; the first took "
            f"{duration(step.first_seconds)})",
        )
    ]
    if step.evaluate_seconds is not None:
        metrics = ", ".join(f"{name} {value:.4g}" for name, value in [*step.metrics.items()][:SHOWN])
        if len(step.metrics) > SHOWN:
            metrics += f" and {len(step.metrics) - SHOWN} more"
        lines.append(_line("evaluation", f"{duration(step.evaluate_seconds)}: {metrics or 'no metrics'}"))
    lines.append(_line("whole run", f"about {duration(step.run_seconds)}, where nothing goes wrong"))
    return [*lines, _line("memory", f"{memory} at most")]


def _checkpoint(found: Preflight) -> list[str]:
    lines = []
    if found.checkpoint is not None:
        one = found.checkpoint
        took = duration(one.write_seconds)
        lines.append(
            _line("checkpoint", f"{size(one.size_bytes)}, written in {took} and read back: the same bit for bit")
        )
    if found.storage is not None:
        kept = found.storage
        lines.append(
            _line(
                "disk",
                f"{kept.checkpoints} checkpoints at once, and one being written, take {size(kept.checkpoint_bytes)} of "
                f"{size(kept.free_bytes)} free",
            )
        )
        lines.append(_line("snapshots", f"{kept.snapshots} in memory take {size(kept.snapshot_bytes)}"))
    return lines


def _data(data: DataCheck) -> list[str]:
    of = "" if data.total is None or data.total == data.read else f" of {data.total:,}"
    rows = "" if data.unit == "rows" else f" ({data.rows:,} rows)"
    how = "" if data.complete else f" ({_sampled(data)})"
    bad = f"{len(data.bad_rows):,} with something wrong" if data.bad_rows else "nothing wrong"
    lines = [_line("data", f"{data.read:,}{of} {data.unit}{rows} looked at{how}: {bad}")]
    for fault, head in HEADS.items():
        rows_of = data.of(fault)
        if rows_of:
            lines.append(_line("", f"{head}: {len(rows_of):,}"))
            lines += [_line("", f"  {_name(row)}: {row.what}") for row in rows_of[:SHOWN]]
        if len(rows_of) > SHOWN:
            lines.append(_line("", f"  and {len(rows_of) - SHOWN:,} more"))
    return lines + [_line("", text) for text in (*data.usual, *data.notes)]


def _sampled(data: DataCheck) -> str:
    if data.enough:
        return "the run needs no more"
    return ("spread evenly" if data.unit == "rows" else "the first ones") + "; `--rows all` looks at every one"


def _name(row: BadRow) -> str:
    if row.index is not None:
        return f"row {row.index}"
    if row.batch is None:
        return f"row number {row.position} of those that the sampler asks for, from 0"
    return f"batch {row.batch}" + ("" if row.position is None else f", position {row.position}")


def _but(found: Preflight) -> str:
    if found.warnings:
        return ", with the warnings above"
    return ", with the bad rows above" if found.data is not None and found.data.bad_rows else ""


def _rows(count: int) -> str:
    return "1 row, with its reason" if count == 1 else f"{count:,} rows, each with its reason"


def _line(head: str, text: str) -> str:
    return f"  {head:<{HEAD - 2}}{text}"
