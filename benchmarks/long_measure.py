"""One long training, guarded or not: what was done to it, what it cost, and what it came to."""

from __future__ import annotations

import gc
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.long_workloads import LONG_WORKLOADS, Batch, LongWorkload, Rows
from supervisor import Guard, PolicyHalt
from supervisor.events.schema import Event

__all__ = ["LongRun", "bad_rows", "run_guarded", "run_unguarded", "table"]

SETTLED = 10_000
"""Steps after which memory is read for the first time, or half of a run that is shorter than twice that."""
SHOWN = 10
"""Interventions of a run that are kept with their step and signals."""
ACTIONS = {"skip_batch": "skipped", "lower_lr": "cuts", "reload_checkpoint": "reloads", "reinitialize": "redrawn"}


@dataclass(frozen=True, slots=True)
class LongRun:
    """What one run came to.

    Attributes:
        workload: its name.
        metric: what the score is.
        steps: steps done, fewer than asked for where the run was halted.
        updates: updates attempted.
        score: on held-out data.
        seconds: processor time of its steps.
        growth: bytes of resident memory gained per step, from `SETTLED` steps to the end.
        discarded: updates that were not applied.
        counts: events by name; signals and actions by their own.
        shown: the first interventions, in words.
        quarantined: rows of the data set that were left out.
        halted: the reason of a halt.
    """

    workload: str
    metric: str
    steps: int
    updates: int
    score: float
    seconds: float
    growth: float
    discarded: int = 0
    counts: Counter[str] | None = None
    shown: tuple[str, ...] = ()
    quarantined: tuple[int, ...] = ()
    halted: str | None = None

    @property
    def interventions(self) -> int:
        """Updates that were not applied, and the halt."""
        return self.discarded + (self.halted is not None)


def bad_rows(count: int, rows: int, seed: int) -> list[int]:
    """Which rows are spoilt, in order."""
    return sorted(torch.randperm(rows, generator=torch.Generator().manual_seed(seed))[:count].tolist())


class _Heard:
    """Counts the events of a run."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.quarantined: set[int] = set()

    def __call__(self, event: Event) -> None:
        self.counts[event.event] += 1
        for kind in ("signal", "action"):
            if event.event in ("signal", "action_applied") and (name := getattr(event, kind, None)) is not None:
                self.counts[str(name)] += 1
        if event.event == "quarantined":
            self.quarantined.update(int(row) for row in getattr(event, "dataset_indices", ()))


class _Watch:
    """Processor time and memory of the steps of a run."""

    def __init__(self, steps: int) -> None:
        self._settled = min(SETTLED, steps // 2)
        self._at, self._before = 0, 0
        self._started = time.process_time()

    def step(self, number: int) -> None:
        """Step `number`, from 1, is over."""
        if number == self._settled and not self._before:
            self._at, self._before = number, _resident()

    def read(self, steps: int) -> tuple[float, float]:
        """Seconds so far, and bytes a step."""
        seconds = time.process_time() - self._started
        return seconds, (_resident() - self._before) / (steps - self._at) if steps > self._at > 0 else 0.0


def _resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def run_guarded(name: str, seed: int, steps: int, spoilt: int = 0) -> LongRun:
    """Train under the guard with its default policy, `spoilt` rows of the data being NaN."""
    torch.set_num_threads(1)
    work, heard, shown = LONG_WORKLOADS[name](seed), _Heard(), list[str]()
    work.rows = work.rows.with_nan(bad_rows(spoilt, len(work.rows), seed)) if spoilt else work.rows
    guard = Guard(
        model=work.model,
        optimizer=work.optimizers if len(work.optimizers) > 1 else work.optimizers[0],
        scheduler=work.scheduler,
        loss=work.loss,
        data=work.data(seed),
        listeners=[heard],
    )
    discarded, halted, watch = 0, None, _Watch(steps)
    try:
        for batch in guard.batches(steps):
            outcome = guard.step(batch)
            watch.step(guard.steps_done)
            if not outcome.applied:
                discarded += 1
                found = ", ".join(signal.name for signal in outcome.signals)
                shown += [f"step {outcome.step}: {outcome.action} after {found}"] if len(shown) < SHOWN else []
    except PolicyHalt as halt:
        halted = str(halt)
    done = guard.steps_done
    seconds, growth = watch.read(done)
    score, rows = work.final_score(), tuple(sorted(heard.quarantined))
    return LongRun(
        name, work.metric, done, guard.updates_attempted, score, seconds, growth,
        discarded, heard.counts, tuple(shown), rows, halted,
    )  # fmt: skip


def run_unguarded(name: str, seed: int, steps: int) -> LongRun:
    """Train by itself, on rows of which none is bad."""
    torch.set_num_threads(1)
    work = LONG_WORKLOADS[name](seed)
    watch, number = _Watch(steps), 0
    for number, batch in zip(range(1, steps + 1), _batches(work, seed), strict=False):
        for optimizer in work.optimizers:
            optimizer.zero_grad()
        work.loss(batch).backward()  # type: ignore[no-untyped-call]
        for optimizer in work.optimizers:
            optimizer.step()
        if work.scheduler is not None:
            work.scheduler.step()
        watch.step(number)
    seconds, growth = watch.read(number)
    return LongRun(name, work.metric, number, number, work.final_score(), seconds, growth)


def _batches(work: LongWorkload, seed: int) -> Iterator[Batch]:
    data = work.data(seed)
    while True:
        yield from data


COLUMNS = (
    "workload", "steps", "incidents", *ACTIONS.values(), "halts", "per 10,000", "metric", "guarded", "unguarded",
    "added time", "bytes a step", "bytes unguarded", "odd updates", "experiments",
)  # fmt: skip


def table(guarded: Sequence[LongRun], unguarded: Sequence[Sequence[LongRun]], spoilt: int = 0, seed: int = 0) -> str:
    """Markdown: a row for each workload.

    Args:
        guarded: a run each.
        unguarded: for each of those, the run of the same seed, then those of other seeds, whose scores show the noise.
        spoilt: how many rows were NaN.
        seed: of the guarded runs.
    """
    columns = (*COLUMNS, *(["bad rows left out"] if spoilt else []))
    lines = [f"| {' | '.join(columns)} |", f"|---|{'---:|' * (len(columns) - 1)}"]
    for run, plain in zip(guarded, unguarded, strict=True):
        counts = run.counts or Counter()
        cells = [
            run.workload,
            f"{run.steps:,}",
            counts["incident_opened"],
            *(counts[action] for action in ACTIONS),
            counts["run_halted"],
            f"{1e4 * run.interventions / max(1, run.updates):.2f}",
            run.metric,
            f"{run.score:.4g}",
            ", ".join(f"{each.score:.4g}" for each in plain),
            _added_time(run, plain[0]),
            f"{run.growth:.1f}",
            f"{plain[0].growth:.1f}",
            counts["odd_update"],
            counts["experiment"],
        ]
        lines.append(f"| {' | '.join(map(str, [*cells, *([_left_out(run, spoilt, seed)] if spoilt else [])]))} |")
    updates, touched = sum(run.updates for run in guarded), sum(run.interventions for run in guarded)
    lines.append(f"\n{touched} interventions in {updates:,} updates: {1e4 * touched / max(1, updates):.2f} per 10,000.")
    return "\n".join(lines)


def _added_time(run: LongRun, plain: LongRun) -> str:
    each, without = run.seconds / max(1, run.steps), plain.seconds / max(1, plain.steps)
    return f"{100 * each / without - 100:.0f} %" if without else "-"


def _left_out(run: LongRun, spoilt: int, seed: int) -> str:
    """How many of the bad rows are out, which are not, and which others are."""
    rows: Rows = LONG_WORKLOADS[run.workload](seed).rows
    expected, out = set(bad_rows(spoilt, len(rows), seed)), set(run.quarantined)
    text = f"{len(expected & out)} of {len(expected)}"
    if expected - out:
        text += f", not {', '.join(map(str, sorted(expected - out)))}"
    return text + (f", and also {', '.join(map(str, sorted(out - expected)))}" if out - expected else "")
