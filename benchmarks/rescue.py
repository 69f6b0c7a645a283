"""Which broken training runs are saved, and by what: the guard beside the usual recipes.

Each case is a small training with something wrong, run with 3 seeds by itself, with three published ways of skipping
bad steps, and under the guard with its default policy. It is rescued when its score on held-out rows is at most
0.03 below that of the same seed with nothing wrong; an event that is harmless by itself, when the score is at most
0.03 below that of the same run without a guard. Faults of the set-up come in two groups: no setting was chosen by those
of the second (`held_out.py`). With `--oracle` each of them is also run with single cures, each made before the first
step, and the table names the best. The same command gives the same table.

    python benchmarks/rescue.py --write docs/rescue.md
    python benchmarks/rescue.py --only "configuration" --oracle
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

# Before torch is loaded, here and in the processes started from here.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

from benchmarks.pages import Marks  # noqa: E402
from benchmarks.rescue_study.table import CASES, run_seed, table  # noqa: E402

MARKS = Marks.of("rescue table")


def main() -> None:
    """Run the study and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each case")
    parser.add_argument("--only", default="", help="cases whose name, kind or workload holds this text")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--oracle", action="store_true", help="try each single cure on each wrong set-up too")
    parser.add_argument("--scores", action="store_true", help="print every score as it comes")
    MARKS.add_option(parser)
    arguments = parser.parse_args()
    chosen = [i for i, case in enumerate(CASES) if arguments.only in f"{case.name} {case.kind} {case.workload}"]
    if not chosen:
        parser.error(f"--only {arguments.only}: no case has this in its name, kind or workload")
    MARKS.check(arguments.write)
    jobs = [(case, seed, arguments.oracle) for case in chosen for seed in range(arguments.seeds)]
    results = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.workers, mp_context=context) as pool:
        for result in pool.map(run_seed, *zip(*jobs, strict=True)):
            results.append(result)
            if arguments.scores:
                scores = "  ".join(f"{way} {score:.3f}" for way, score in {**result.scores, **result.cures}.items())
                print(f"{CASES[result.case].name} [{result.seed}]: clean {result.clean:.3f}  {scores}", flush=True)
    text = table(results)
    print(text)
    print(f"{sum(result.seconds for result in results):.0f} s of processor time, {arguments.workers} processes")
    if arguments.write:
        MARKS.put(arguments.write, text)


if __name__ == "__main__":
    main()
