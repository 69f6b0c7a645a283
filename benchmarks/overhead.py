"""What the guard costs a healthy step: the same training with it and without it, in turn, in one process.

Each contender has its own copy of the model, of the same seed and on the same batches, and takes a few steps before the
next one's turn; the order of a round begins one further each time. One thread, fused AdamW, no clipping, the default
policy. Beside the guard stand a second bare loop, which shows the machine's noise, and what people write by hand. Where
batches are accumulated, each contender does so: the loss over their number, a backward pass each, then one update.

A pair is a step of a contender and the bare loop's step on the same batch. `mean` and `median` are seconds of a step
over the bare loop's; a median hides what is not done at every step (the check of the state at every tenth, a snapshot
at every twentieth). `spread` is the middle half of the ratios of twenty steps each, which hold one snapshot. `of the
check by hand` is the time added over that which `clip_grad_norm_(error_if_nonfinite=True)` and `loss.item()` add in
the same run; that of the second bare loop is the doubt in it.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from overhead_workloads import WORKLOADS, Batch, Workload
from pages import Marks, machine
from torch import Tensor, nn

from supervisor import Guard

WARMUP_STEPS = 183
"""Steps that do not count, on one sample each: by then snapshots use memory again, and a checkpoint (the 200th step)
falls into the middle of a turn."""

UNIT_STEPS = 20
"""Steps of one ratio of the spread: as many as lie between two snapshots."""

LEAST_STEPS = 2 * UNIT_STEPS
"""A spread needs two ratios."""

MARKS = Marks.of("overhead")


class Contender:
    """One training and its times: a loop by hand, with `inspect` between backward and the update.

    Attributes:
        seconds: of each step that counted.
    """

    def __init__(self, workload: Workload, inspect: Callable[[Tensor, Sequence[Tensor]], object] | None = None) -> None:
        torch.manual_seed(0)
        self.model = workload.build()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        self.seconds: list[float] = []
        self._parameters = list(self.model.parameters())
        self._inspect = inspect
        self._bfloat16 = workload.bfloat16

    def loss(self, batch: Batch) -> Tensor:
        """Mean squared error."""
        x, y = batch
        if not self._bfloat16:
            return nn.functional.mse_loss(self.model(x), y)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return nn.functional.mse_loss(self.model(x), y)

    def step(self, batches: tuple[Batch, ...]) -> None:
        """One update on all of them."""
        self.optimizer.zero_grad()
        if len(batches) == 1:
            loss = self.loss(batches[0])
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            loss = torch.zeros(())
            for batch in batches:
                part = self.loss(batch) / len(batches)
                part.backward()  # type: ignore[no-untyped-call]
                loss += part.detach()
        if self._inspect is not None:
            self._inspect(loss, self._parameters)
        self.optimizer.step()

    def settle(self) -> None:
        """Wait for what must not run into another one's turn."""


class Guarded(Contender):
    """The same under the guard."""

    def __init__(self, workload: Workload, run_dir: Path | None) -> None:
        super().__init__(workload)
        accumulate = workload.accumulate
        self._guard = Guard(
            model=self.model, optimizer=self.optimizer, loss=self.loss, accumulate=accumulate, run_dir=run_dir
        )

    def step(self, batches: tuple[Batch, ...]) -> None:
        """One supervised update."""
        if not self._guard.step(batches if len(batches) > 1 else batches[0]).applied:
            raise RuntimeError("a step was flagged: this is not the healthy path")

    def settle(self) -> None:
        """Wait for the checkpoint that is being written."""
        self._guard.flush()


class Anomaly(Contender):
    """A loop under autograd's anomaly detection."""

    def step(self, batches: tuple[Batch, ...]) -> None:
        """One update on all of them."""
        with torch.autograd.set_detect_anomaly(True):
            super().step(batches)


def _isfinite_loop(_: Tensor, parameters: Sequence[Tensor]) -> None:
    for parameter in parameters:
        if not torch.isfinite(parameter).all() or not torch.isfinite(parameter.grad).all():  # type: ignore[arg-type]
            raise FloatingPointError("not finite")


def _clip_and_item(loss: Tensor, parameters: Sequence[Tensor]) -> float:
    torch.nn.utils.clip_grad_norm_(parameters, float("inf"), error_if_nonfinite=True)
    return loss.item()


BARE = "bare loop"
BY_HAND = "`clip_grad_norm_(error_if_nonfinite=True)`, `loss.item()`"

CONTENDERS: dict[str, tuple[str, Callable[[Workload, Path], Contender]]] = {
    "memory": ("**guard**, in memory", lambda workload, folder: Guarded(workload, None)),
    "directory": ("**guard**, with a run directory", lambda workload, folder: Guarded(workload, folder / "run")),
    "clip": (BY_HAND, lambda workload, folder: Contender(workload, _clip_and_item)),
    "isfinite": (
        "`isfinite` over parameters and gradients",
        lambda workload, folder: Contender(workload, _isfinite_loop),
    ),
    "anomaly": ("`set_detect_anomaly(True)`", lambda workload, folder: Anomaly(workload)),
}
"""Those that may be left out, by their name on the command line: how they stand in the table, and what makes one."""


@contextmanager
def _contenders(workload: Workload, names: Sequence[str]) -> Iterator[dict[str, Contender]]:
    with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
        made = {BARE: Contender(workload), "bare loop again (noise)": Contender(workload)}
        for name in names:
            shown, make = CONTENDERS[name]
            made[shown] = make(workload, Path(folder))
        yield made


def measure(
    workload: Workload, steps: int, clock: Callable[[], float], names: Sequence[str] = tuple(CONTENDERS)
) -> dict[str, list[float]]:
    """Seconds of each step that counts, of both bare loops and of the contenders of these names."""

    def update(rows: int | None = None) -> tuple[Batch, ...]:
        drawn = (workload.batch() for _ in range(workload.accumulate))
        return tuple((x[:rows], y[:rows]) for x, y in drawn)

    with _contenders(workload, names) as contenders:
        torch.manual_seed(1)
        batches = [update() for _ in range(8)]
        # One row each, for speed, and never the same: to a model that knows its rows by heart others are a jump.
        warmup = [update(rows=1) for _ in range(WARMUP_STEPS)]
        for contender in contenders.values():
            for each in warmup:
                contender.step(each)
            contender.settle()
        gc.collect()
        in_turn = list(contenders.values())
        for first in range(0, steps, workload.turn_steps):
            for contender in in_turn:
                for number in range(first, min(first + workload.turn_steps, steps)):
                    batch = batches[number % len(batches)]
                    started = clock()
                    contender.step(batch)
                    contender.seconds.append(clock() - started)
                contender.settle()
            in_turn = [*in_turn[1:], in_turn[0]]
        return {name: contender.seconds for name, contender in contenders.items()}


def table(workload: Workload, seconds: dict[str, list[float]]) -> list[str]:
    """The rows of one workload, in Markdown."""
    bare = seconds[BARE]
    step = f"{statistics.fmean(bare) * 1e3:.2f} ms a step, {len(bare):,} pairs"
    by_hand = statistics.fmean(seconds[BY_HAND]) - statistics.fmean(bare) if BY_HAND in seconds else 0.0
    lines = [
        f"| {workload.name}: {step} | mean | median | spread | added a step | of the check by hand |",
        "|---|---|---|---|---|---|",
    ]
    for name, taken in itertools.islice(seconds.items(), 1, None):
        mean = statistics.fmean(taken) / statistics.fmean(bare)
        median = statistics.median(taken) / statistics.median(bare)
        ratios = [sum(mine) / sum(theirs) for mine, theirs in zip(_units(taken), _units(bare), strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4)
        added = statistics.fmean(taken) - statistics.fmean(bare)
        # A check that seems to cost nothing or less is lost in the noise: nothing can be told in shares of it.
        share = f"{added / by_hand:.2f}" if by_hand > 0 else "-"
        spread = f"{low:.3f} to {high:.3f}"
        lines.append(f"| {name} | {mean:.3f} | {median:.3f} | {spread} | {added * 1e6:+,.0f} µs | {share} |")
    return [*lines, ""]


def _units(taken: list[float]) -> list[list[float]]:
    return [taken[start : start + UNIT_STEPS] for start in range(0, len(taken), UNIT_STEPS)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="fewer steps, for a first look")
    length.add_argument("--pairs", metavar="N", type=_pairs, help="steps that count, instead of each workload's own")
    parser.add_argument("--only", metavar="WORD", default="", help="the workloads with this in their name")
    parser.add_argument(
        "--contenders",
        metavar="NAME",
        nargs="+",
        choices=tuple(CONTENDERS),
        default=tuple(CONTENDERS),
        help=f"beside the bare loops only these, of {', '.join(CONTENDERS)} (`anomaly` takes longest)",
    )
    parser.add_argument("--cpu-time", action="store_true", help="of the training thread, where the machine is loaded")
    MARKS.add_option(parser)
    arguments = parser.parse_args()
    MARKS.check(arguments.write)

    torch.set_num_threads(1)
    clock = time.thread_time if arguments.cpu_time else time.perf_counter
    timed = "CPU time of the training thread" if arguments.cpu_time else "wall time"
    command = " ".join(["python benchmarks/overhead.py", *sys.argv[1:]])
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    lines = [f"`{command}` on {machine()}, 1 thread; {versions}; {timed}.", ""]
    print("\n".join(lines), flush=True)
    for workload in WORKLOADS:
        if arguments.only in workload.name:
            steps = max(LEAST_STEPS, workload.steps // 4) if arguments.quick else arguments.pairs or workload.steps
            rows = table(workload, measure(workload, steps, clock, arguments.contenders))
            print("\n".join(rows), flush=True)
            lines += rows
    if arguments.write is not None:
        MARKS.put(arguments.write, "\n".join(lines))


def _pairs(text: str) -> int:
    """At least as many steps as were asked for, in whole units of the spread."""
    number = int(text)
    if number < LEAST_STEPS:
        raise argparse.ArgumentTypeError(f"{text}: write {LEAST_STEPS} or more")
    return -(-number // UNIT_STEPS) * UNIT_STEPS


if __name__ == "__main__":
    main()
