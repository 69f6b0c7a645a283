"""Which cell should carry the flows: what each costs, how far its gradients grow, what it bears, how well it learns.

For each cell: time and memory of a step; gradients with all its weights times 1, 5 and 20, through the cell alone and
through the loop by which a flow reads where it is; extreme inputs; long journeys (8x8x40 and 16x16x40);
trainings from large weights; and the faults of a rehearsal, with incidents, rescued runs and the held-out score. Three
seeds. On two quiet cores it takes about two hours, most of it the rehearsals; `--only` runs single parts.

    python benchmarks/cells.py --write docs/stability.md
    python benchmarks/cells.py --quick --only bounds cost
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

# This file's folder comes first on the path, where a neighbour's name would hide a package that is measured.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import torch  # noqa: E402

from benchmarks.cell_study.bounds import bounds  # noqa: E402
from benchmarks.cell_study.common import QUICK, Plan  # noqa: E402
from benchmarks.cell_study.cost import cost  # noqa: E402
from benchmarks.cell_study.endurance import extremes, large_weights, long_flows  # noqa: E402
from benchmarks.cell_study.faults import faults  # noqa: E402
from benchmarks.pages import Marks, machine  # noqa: E402

MARKS = Marks.of("cells table")

PARTS: dict[str, Callable[[Plan], list[str]]] = {
    "cost": cost,
    "bounds": bounds,
    "extremes": extremes,
    "long": long_flows,
    "large": large_weights,
    "faults": faults,
}


def main() -> None:
    """Measure, and print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed and next to no steps, to see that it works")
    parser.add_argument("--seeds", type=int, help="instead of three")
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), default=tuple(PARTS), help="these parts")
    MARKS.add_option(parser)
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else Plan()
    plan = plan if arguments.seeds is None else replace(plan, seeds=arguments.seeds)
    MARKS.check(arguments.write)
    torch.set_num_threads(1)
    command = " ".join(["python benchmarks/cells.py", *sys.argv[1:]])
    load = f"load average {os.getloadavg()[0]:.1f} before" if hasattr(os, "getloadavg") else ""
    lines = [
        f"`{command}` on {machine()}, {os.cpu_count()} cores, 1 thread; Python {platform.python_version()}, "
        f"torch {torch.__version__}; {load}.",
        "",
    ]
    print("\n".join(lines), flush=True)
    for part in arguments.only:
        found = PARTS[part](plan)
        print("\n".join(found), flush=True)
        lines += found
    if arguments.write is not None:
        MARKS.put(arguments.write, "\n".join(lines))


if __name__ == "__main__":
    main()
