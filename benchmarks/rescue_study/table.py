"""Running the study, and its table."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch

from benchmarks.rescue_study.cases import Case, Kind
from benchmarks.rescue_study.configuration import CONFIGURATION
from benchmarks.rescue_study.harmless import HARMLESS
from benchmarks.rescue_study.methods import METHODS
from benchmarks.rescue_study.transient import TRANSIENT
from benchmarks.rescue_study.workloads import build

__all__ = ["CASES", "MARGIN", "Result", "run_seed", "table"]

CASES: tuple[Case, ...] = (*TRANSIENT, *CONFIGURATION, *HARMLESS)
MARGIN = 0.03
"""How far below its reference a rescued run may end."""


@dataclass(frozen=True, slots=True)
class Result:
    """The scores of one case and seed.

    Attributes:
        case: position in `CASES`.
        clean: score of the same seed with nothing broken.
        scores: score by method.
        seconds: processor time of all its runs.
    """

    case: int
    seed: int
    clean: float
    scores: dict[str, float]
    seconds: float

    def rescued(self, method: str) -> bool:
        """Within the margin of the clean run; for a harmless event, of the same run without a guard."""
        harmless = CASES[self.case].kind is Kind.HARMLESS
        reference = self.scores["no guard"] if harmless else self.clean
        return self.scores[method] >= reference - MARGIN


def run_seed(case: int, seed: int) -> Result:
    """Run one case and seed in every way, one thread."""
    torch.set_num_threads(1)
    started = time.process_time()
    clean = build(CASES[case].workload, seed)
    METHODS["no guard"](clean)
    scores = {}
    for method, run in METHODS.items():
        training = CASES[case].build(seed)
        run(training)
        scores[method] = training.score()
    return Result(case, seed, clean.score(), scores, time.process_time() - started)


def table(results: Sequence[Result]) -> str:
    """Markdown: for each case the seeds rescued by each method, and the sums."""
    seeds = len({result.seed for result in results})
    lines = [
        f"| case (rescued of {seeds} seeds) | workload | {' | '.join(METHODS)} |",
        f"|---|---|{'---:|' * len(METHODS)}",
    ]
    for kind, of_kind in groupby(_in_order(results), key=lambda result: CASES[result.case].kind):
        held = list(of_kind)
        for number, of_case in groupby(held, key=lambda result: result.case):
            case = CASES[number]
            lines.append(_row(case.name, case.workload, _counts(list(of_case))))
        shares = [f"**{count}/{len(held)} ({100 * count / len(held):.0f} %)**" for count in _counts(held)]
        lines.append(_row(f"**{kind}s**", "", shares))
    return "\n".join(lines)


def _in_order(results: Iterable[Result]) -> list[Result]:
    return sorted(results, key=lambda result: (result.case, result.seed))


def _counts(results: Sequence[Result]) -> list[int]:
    return [sum(result.rescued(method) for result in results) for method in METHODS]


def _row(name: str, workload: str, cells: Iterable[object]) -> str:
    return f"| {name} | {workload} | {' | '.join(str(cell) for cell in cells)} |"
