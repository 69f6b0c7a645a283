"""What the guard does to healthy trainings of 50,000 steps: interventions, scores, added time, memory.

Each workload of `long_workloads.py` is trained with the default policy and without a guard, each run in a process of
its own. Nothing is wrong with any of them, so that every update that is not applied is a false alarm. With
`--bad-rows 5`, five rows of the data are NaN: those are to be left out, and nothing else is to happen. The run without
a guard keeps the sound rows then.

    python benchmarks/long_runs.py --write docs/long_runs.md
    python benchmarks/long_runs.py --steps 5000 --only "dropout 0.3" --noise
    python benchmarks/long_runs.py --bad-rows 5
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

# Before torch and numpy are loaded, here and in the processes started from here.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

from benchmarks.long_measure import LongRun, run_guarded, run_unguarded, table  # noqa: E402
from benchmarks.long_workloads import LONG_WORKLOADS  # noqa: E402
from benchmarks.pages import Marks  # noqa: E402

MARKS = Marks.of("long runs")


def main() -> None:
    """Run the trainings and print their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=50_000, help="of each run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=[*LONG_WORKLOADS], metavar="NAME", help="these workloads alone")
    parser.add_argument("--bad-rows", type=int, default=0, metavar="N", help="rows of the data that are NaN")
    parser.add_argument("--noise", action="store_true", help="two more seeds without a guard")
    parser.add_argument("--processes", type=int, default=1, help="runs at a time")
    MARKS.add_option(parser)
    arguments = parser.parse_args()
    if arguments.steps < 2 or arguments.bad_rows < 0 or arguments.processes < 1:
        parser.error("--steps takes 2 or more, --bad-rows 0 or more, --processes 1 or more")
    MARKS.check(arguments.write)
    names, seed, steps = arguments.only or [*LONG_WORKLOADS], arguments.seed, arguments.steps
    seeds = range(seed, seed + (3 if arguments.noise else 1))
    # A new process for each run, so that its memory is its own.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.processes, mp_context=context, max_tasks_per_child=1) as pool:
        jobs = [
            (
                pool.submit(run_guarded, name, seed, steps, arguments.bad_rows),
                [pool.submit(run_unguarded, name, each, steps) for each in seeds],
            )
            for name in names
        ]
        guarded, unguarded = [], []
        for first, others in jobs:
            guarded.append(first.result())
            unguarded.append([other.result() for other in others])
            _say(guarded[-1], unguarded[-1][0])
    text = table(guarded, unguarded, arguments.bad_rows, seed)
    print(text)
    seconds = sum(run.seconds for run in [*guarded, *(run for runs in unguarded for run in runs)])
    print(f"{seconds:.0f} s of processor time in the steps, {arguments.processes} at a time")
    if arguments.write:
        MARKS.put(arguments.write, text)


def _say(run: LongRun, plain: LongRun) -> None:
    """The interventions of a run, as soon as it is over."""
    apiece = f"{1e3 * plain.seconds / plain.steps:.2f} ms a step without a guard"
    print(f"{run.workload}: {run.interventions} interventions in {run.updates:,} updates; {apiece}", flush=True)
    for line in run.shown:
        print(f"  {line}", flush=True)
    if len(run.shown) < run.discarded:
        print(f"  and {run.discarded - len(run.shown)} more", flush=True)
    if run.halted is not None:
        print(f"  halted at step {run.steps}: {run.halted}", flush=True)


if __name__ == "__main__":
    main()
