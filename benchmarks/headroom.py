"""For how many updates ahead the headroom forecasts warn, how often they are right, and how often they are wrong.

Gradual faults are written into the workloads of the rescue study, and healthy trainings are left alone. Nothing guards
them; what the check of the state would measure at every tenth update is kept, and shown to the detector afterwards.
Settings are compared on one part of the workloads and seeds, and what the default comes to is reported on the other.

    python benchmarks/headroom.py --write docs/headroom.md     # about an hour on one core
    python benchmarks/headroom.py --steps 2000 --keep series   # shorter; keeps what was measured, to be looked at again
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

# Before torch and numpy are loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

from benchmarks.headroom_faults import GRADUAL, Gradual  # noqa: E402
from benchmarks.headroom_score import FaultResult, Told, Truth, forecasts, of_fault  # noqa: E402
from benchmarks.headroom_series import CHOOSING, REPORTED, Series  # noqa: E402
from benchmarks.headroom_series import of_fault as series_of_fault  # noqa: E402
from benchmarks.headroom_series import of_healthy as series_of_healthy  # noqa: E402
from benchmarks.pages import Marks  # noqa: E402
from supervisor.headroom import Quantity  # noqa: E402
from supervisor.policy import HeadroomWatch  # noqa: E402

MARKS = Marks.of("headroom")

CHOSEN_ON = ("clusters", "recall")
"""The workloads whose faults the settings are compared on; the others are reported."""

CHOOSING_SEEDS, REPORTED_SEEDS = (0, 1), (2, 3)

SETTINGS: tuple[HeadroomWatch, ...] = (
    HeadroomWatch(),
    HeadroomWatch(horizon_updates=150),
    HeadroomWatch(horizon_updates=500),
    HeadroomWatch(horizon_updates=1000),
    HeadroomWatch(factor=4.0),
    HeadroomWatch(factor=30.0),
    HeadroomWatch(window_updates=160),
    HeadroomWatch(warmup_updates=200),
)


def main() -> None:
    """Measure, and print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10_000, help="of each healthy run that is reported")
    parser.add_argument("--choosing-steps", type=int, default=3000, help="of each that settings are compared on")
    parser.add_argument("--keep", type=Path, help="a folder: what was measured is kept, and not measured again")
    MARKS.add_option(parser)
    arguments = parser.parse_args()
    MARKS.check(arguments.write)
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    text = "\n".join([*_choice(arguments), "", *_report(arguments)])
    print(text)
    if arguments.write is not None:
        MARKS.put(arguments.write, text)


def _choice(arguments: argparse.Namespace) -> Iterable[str]:
    keep = arguments.keep
    faults = [
        series_of_fault(fault, seed, keep)
        for seed in CHOOSING_SEEDS
        for fault in GRADUAL
        if fault.workload in CHOSEN_ON
    ]
    seed, steps = CHOOSING_SEEDS[0], arguments.choosing_steps
    healthy = [series_of_healthy(name, seed, steps, keep) for name in CHOOSING]
    updates = sum(len(each.losses) for each in healthy)
    yield "### Settings compared"
    yield ""
    yield f"{len(faults)} runs with a fault ({', '.join(CHOSEN_ON)}; seeds {_listed(CHOOSING_SEEDS)}) and"
    yield f"{len(healthy)} healthy ones, {updates:,} updates, seed {seed}."
    yield ""
    yield "| settings | failed runs told of | updates ahead, median | told of, did not fail | healthy, per 10,000 |"
    yield "|---|---:|---:|---:|---:|"
    for watch in SETTINGS:
        results = [of_fault(each, watch) for each in faults]
        failed = [each for each in results if each.failed_at is not None]
        unharmed = [each for each in results if each.failed_at is None]
        ahead = [each.ahead for each in failed if each.ahead is not None]
        false = sum(len(forecasts(each, watch)) for each in healthy)
        yield (
            f"| {_named(watch)} | {len(ahead)} of {len(failed)} | {_median(ahead)} "
            f"| {sum(bool(each.told) for each in unharmed)} of {len(unharmed)} | {1e4 * false / updates:.2f} |"
        )


def _report(arguments: argparse.Namespace) -> Iterable[str]:
    watch, told = HeadroomWatch(), list[Told]()
    runs: list[tuple[Gradual, FaultResult]] = []
    for fault in GRADUAL:
        if fault.workload not in CHOSEN_ON:
            found = (series_of_fault(fault, seed, arguments.keep) for seed in REPORTED_SEEDS)
            runs += [(fault, of_fault(series, watch)) for series in found]
    yield "### The default, on the other workloads and seeds"
    yield ""
    yield f"Faults in {_listed(sorted({fault.workload for fault, _ in runs}))}, seeds {_listed(REPORTED_SEEDS)}."
    yield ""
    head = (
        "fault",
        "an update",
        "runs",
        "failed",
        "told of",
        "updates ahead",
        "failed untold",
        "told of, did not fail",
    )
    yield f"| {' | '.join(head)} |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|"
    for (kind, rate), group in groupby(sorted(runs, key=_kind_and_rate), key=_kind_and_rate):
        results = [result for _, result in group]
        told += [each for result in results for each in (*result.before, *result.told)]
        yield _fault_row(kind, rate, results)
    yield ""
    yield "| forecasts in these runs | made | right | sooner | later | never | open |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for quantity in Quantity:
        of_it = [each for each in told if each.forecast.quantity is quantity]
        if of_it:
            yield _truth_row(quantity, of_it)
    yield ""
    yield from _healthy(arguments, watch)


def _healthy(arguments: argparse.Namespace, watch: HeadroomWatch) -> Iterable[str]:
    seed = REPORTED_SEEDS[0]
    runs: list[tuple[str, Series]] = [
        (name, series_of_healthy(name, seed, arguments.steps, arguments.keep)) for name in REPORTED
    ]
    updates = sum(len(series.losses) for _, series in runs)
    yield f"Healthy: {len(runs)} workloads, seed {seed}, {updates:,} updates. Those in which something was told:"
    yield ""
    yield "| workload | updates | forecasts | of them came true | the first |"
    yield "|---|---:|---:|---:|---|"
    total = 0
    for name, series in runs:
        told = forecasts(series, watch)
        total += len(told)
        if told:
            first, true = told[0], sum(each.truth is Truth.RIGHT for each in told)
            what = f"`{first.forecast.quantity}` of `{first.forecast.parameter}` after {first.update}"
            yield f"| {name} | {len(series.losses):,} | {len(told)} | {true} | {what} |"
    yield ""
    yield f"**{total} forecasts in {updates:,} healthy updates: {1e4 * total / updates:.2f} per 10,000.**"


def _fault_row(kind: str, rate: float, results: Sequence[FaultResult]) -> str:
    failed = [each for each in results if each.failed_at is not None]
    ahead = sorted(each.ahead for each in failed if each.ahead is not None)
    spread = f"{_median(ahead)} ({ahead[0]} to {ahead[-1]})" if ahead else "-"
    unharmed = sum(bool(each.told) for each in results if each.failed_at is None)
    untold = len(failed) - len(ahead)
    return (
        f"| {kind} | {100 * rate:.1f} % | {len(results)} | {len(failed)} | {len(ahead)} | {spread} | {untold} "
        f"| {unharmed} of {len(results) - len(failed)} |"
    )


def _truth_row(quantity: Quantity, told: Sequence[Told]) -> str:
    counts = Counter(each.truth for each in told)
    return f"| `{quantity}` | {len(told)} | " + " | ".join(str(counts[truth]) for truth in Truth) + " |"


def _kind_and_rate(run: tuple[Gradual, FaultResult]) -> tuple[str, float]:
    return run[0].kind, run[0].rate


def _named(watch: HeadroomWatch) -> str:
    default = HeadroomWatch()
    changed = {name: value for name, value in watch if value != getattr(default, name)}
    return ", ".join(f"`{name}: {value:g}`" for name, value in changed.items()) or "default"


def _median(values: Sequence[int]) -> str:
    return f"{statistics.median(values):.0f}" if values else "-"


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


if __name__ == "__main__":
    main()
