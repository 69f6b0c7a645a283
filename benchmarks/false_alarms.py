"""How often the default detectors touch a healthy run, and what they find when something is planted.

Each workload of `healthy_workloads.py` and `method_workloads.py` is trained under the guard with the default policy;
every update that is not applied is an intervention. The same losses, gradient norms and rates then go through other
settings of the spike detector, and through the published rule that skips what lies six standard deviations above the
mean of the last 128 losses or gradient norms. In a second part, data change for good in the middle of a run
(`curricula.py`); in a third, faults are planted in some of the workloads.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from benchmarks.curricula import CURRICULA, report  # noqa: E402
from benchmarks.healthy_workloads import SHIFTED, WORKLOADS, Workload  # noqa: E402
from benchmarks.method_workloads import METHODS  # noqa: E402
from supervisor import Guard, PolicyHalt, load_policy  # noqa: E402
from supervisor.records import Observation  # noqa: E402
from supervisor.signals import Detectors  # noqa: E402

HEALTHY = {**WORKLOADS, **METHODS}

Series = list[tuple[float, float, float]]
"""Loss, gradient norm and learning rate of each update."""

VARIANTS: dict[str, dict[str, Any]] = {
    "128/3.5, margin 2.5": {},
    "128/8": {"threshold": 8.0, "margin": 1.0},
    "64/6": {"window_updates": 64, "threshold": 6.0, "margin": 1.0},
    "32/5": {"window_updates": 32, "threshold": 5.0, "margin": 1.0},
}
"""Settings of the spike detector beside the default; drift and weights are off."""

PLANTED_IN = ("GRU, text", "transformer, text", "dropout 0.5", "loss below zero", "batch size 64")
FAULTS = {"loss 10 x recent": 2, "own loss x 10": 2, "gradient x 1000": 2, "weights halved": 25}
"""Each fault with the steps within which it is to be found.

The first two last two steps: the loss is ten times the mean of the last 20, or ten times what the very batch would have
had, which may be little where batches differ much. The weights are halved over ten steps, by the same factor each.
"""

FIRST_AT, APART, PLANTED = 200, 100, 12

PATIENT: dict[str, Any] = {
    "ladder": [
        {"action": "skip_batch", "attempts": 1000, "limit": None},
        {"action": "reload_checkpoint", "attempts": 1000, "limit": {"uses": 1000, "window_updates": 2000}},
    ]
}
"""For the planted faults: default detectors, and a ladder that so many faults in one run do not exhaust."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1200, help="of each healthy run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--only", nargs="+", choices=[*HEALTHY, *SHIFTED, *CURRICULA], metavar="NAME", help="these workloads alone"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    started = time.thread_time()
    chosen = arguments.only or [*HEALTHY, *SHIFTED, *CURRICULA]
    _healthy({name: HEALTHY[name] for name in chosen if name in HEALTHY}, arguments.steps, arguments.seeds)
    if not arguments.only:
        print("\nShifts of the data so abrupt that they look like damage; not counted above")
    _healthy({name: SHIFTED[name] for name in chosen if name in SHIFTED}, arguments.steps, 3)
    report([name for name in chosen if name in CURRICULA], arguments.steps, arguments.seeds)
    if not arguments.only:
        _planted(arguments.seeds)
    print(f"\n{time.thread_time() - started:.0f} s of processor time")


def _healthy(workloads: dict[str, Callable[[int], Workload]], steps: int, seeds: int) -> None:
    if not workloads:
        return
    columns = ["guard", *VARIANTS, "6 sigma"]
    print(f"{'interventions in ' + str(seeds) + ' x ' + str(steps) + ' steps':34}", *(f"{c:>20}" for c in columns))
    total, updates = dict.fromkeys(columns, 0), 0
    for name, make in workloads.items():
        counts = dict.fromkeys(columns, 0)
        for seed in range(seeds):
            seen, counted = _run(make(seed), steps)
            counts["guard"] += counted
            updates += sum(map(len, seen))
            for variant, spike in VARIANTS.items():
                counts[variant] += sum(_replayed(series, spike) for series in seen)
            counts["6 sigma"] += sum(map(_six_sigma, seen))
        print(f"{name:34}", *(f"{counts[c]:20}" for c in columns), flush=True)
        total = {c: total[c] + counts[c] for c in columns}
    print(f"{'per 10,000 of ' + str(updates):34}", *(f"{total[c] / updates * 1e4:20.2f}" for c in columns), flush=True)


def _run(workload: Workload, steps: int) -> tuple[list[Series], int]:
    """The healthy updates of a run, those of its partner apart, and the number of interventions in both."""
    halves = [half for half in (workload, workload.partner) if half is not None]
    guards = [_guard(half, half.loss) for half in halves]
    seen: list[Series] = [[] for _ in halves]
    interventions = 0
    while guards[0].steps_done < steps:
        for half, guard, series in zip(halves, guards, seen, strict=True):
            rate = float(half.optimizer.param_groups[0]["lr"])
            try:
                outcome = guard.step(next(half.batches))
            except PolicyHalt:
                print("  halted")
                return seen, interventions + 1
            series.append((outcome.loss, outcome.grad_norm, rate))
            interventions += not outcome.applied
            if not outcome.applied:
                print(f"  step {outcome.step}: {outcome.action} after {', '.join(s.name for s in outcome.signals)}")
    return seen, interventions


def _replayed(series: Series, spike: dict[str, Any]) -> int:
    detectors = Detectors(load_policy({"detect": {"spike": spike, "drift": None, "weights": None}}))
    flagged = 0
    for number, (loss, grad_norm, rate) in enumerate(series):
        observation = Observation(number, number, loss, grad_norm, lr=rate)
        if detectors.inspect(observation):
            flagged += 1
            detectors.flagged(observation)
        else:
            detectors.accept(observation)
    return flagged


def _six_sigma(series: Series) -> int:
    windows: tuple[deque[float], deque[float]] = deque(maxlen=128), deque(maxlen=128)
    skipped = 0
    for loss, grad_norm, _ in series:
        values = (loss, grad_norm)
        if len(windows[0]) == 128 and any(
            value > statistics.fmean(window) + 6 * statistics.pstdev(window)
            for value, window in zip(values, windows, strict=True)
        ):
            skipped += 1
        for value, window in zip(values, windows, strict=True):
            window.append(value)
    return skipped


def _planted(seeds: int) -> None:
    names = list(FAULTS)
    print(f"\n{'found in time, of planted':34}", *(f"{fault:>26}" for fault in names))
    for name in PLANTED_IN:
        found: dict[str, list[int | None]] = {fault: [] for fault in names}
        for seed in range(seeds):
            for fault, delays in _with_faults(WORKLOADS[name](seed)).items():
                found[fault] += delays
        cells = []
        for fault, delays in found.items():
            within = [delay for delay in delays if delay is not None and delay <= FAULTS[fault]]
            cells.append(f"{len(within)} of {len(delays)} (<= {max(within, default='-')})")
        print(f"{name:34}", *(f"{cell:>26}" for cell in cells), flush=True)


def _with_faults(workload: Workload) -> dict[str, list[int | None]]:
    """Steps from each fault to its finding, None where there was none; the first step counts as one."""
    names = list(FAULTS)
    plan = {FIRST_AT + APART * number: names[number % len(names)] for number in range(PLANTED)}
    batch_number, active = 0, ""
    recent: deque[float] = deque(maxlen=20)

    def loss(batch: Any) -> Tensor:
        value = workload.loss(batch)
        own, mean = float(value.detach()), statistics.fmean(recent) if recent else 0.0
        if active == "loss 10 x recent":
            return value + mean + 9 * abs(mean) - own
        if active == "own loss x 10":
            return value + 9 * abs(own)
        if active == "gradient x 1000":
            return 1000 * value - 999 * own
        recent.append(own)
        return value

    guard = _guard(workload, loss, PATIENT)
    delays: dict[str, list[int | None]] = {fault: [] for fault in names}
    while batch_number < FIRST_AT + APART * PLANTED:
        began = batch_number - (batch_number - FIRST_AT) % APART
        fault, since = plan.get(began, ""), batch_number - began
        if fault and since == 0:
            delays[fault].append(None)
        spike = fault != "weights halved"
        active = fault if spike and since < 2 else ""
        if fault and not spike and since < 10:
            with torch.no_grad():
                for parameter in workload.model.parameters():
                    parameter.mul_(0.5**0.1)
        outcome = guard.step(next(workload.batches))
        batch_number += 1
        if not outcome.applied and fault and delays[fault][-1] is None:
            delays[fault][-1] = since + 1
            if not spike:
                # The reload undid it: what is left of the plan would be a second fault.
                plan[began] = ""
    return delays


def _guard(workload: Workload, loss: Callable[[Any], Tensor], policy: dict[str, Any] | None = None) -> Guard:
    return Guard(
        model=workload.model,
        optimizer=workload.optimizer,
        scheduler=workload.scheduler,
        loss=loss,
        policy=policy,
        quiet=True,
    )


if __name__ == "__main__":
    main()
