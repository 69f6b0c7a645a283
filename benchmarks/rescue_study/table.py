"""Running the study, and its table."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from statistics import fmean

import torch

from benchmarks.rescue_study.cases import Case, Kind
from benchmarks.rescue_study.configuration import CONFIGURATION
from benchmarks.rescue_study.harmless import HARMLESS
from benchmarks.rescue_study.held_out import HELD_OUT
from benchmarks.rescue_study.methods import METHODS
from benchmarks.rescue_study.oracle import scores as oracle_scores
from benchmarks.rescue_study.transient import TRANSIENT
from benchmarks.rescue_study.workloads import build

__all__ = ["CASES", "MARGIN", "Result", "run_seed", "table"]

CASES: tuple[Case, ...] = (*TRANSIENT, *CONFIGURATION, *HELD_OUT, *HARMLESS)
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
        cures: score by single cure; empty where none was asked for.
    """

    case: int
    seed: int
    clean: float
    scores: dict[str, float]
    seconds: float
    cures: dict[str, float] = field(default_factory=dict)

    def rescued(self, method: str) -> bool:
        """Within the margin of the clean run; for a harmless event, of the same run without a guard."""
        harmless = CASES[self.case].kind is Kind.HARMLESS
        reference = self.scores["no guard"] if harmless else self.clean
        return self.scores[method] >= reference - MARGIN


def run_seed(case: int, seed: int, oracle: bool = False) -> Result:
    """Run one case and seed in every way, one thread; with `oracle`, a wrong set-up with each single cure too."""
    torch.set_num_threads(1)
    started = time.process_time()
    clean = build(CASES[case].workload, seed)
    METHODS["no guard"](clean)
    scores = {}
    for method, run in METHODS.items():
        training = CASES[case].build(seed)
        run(training)
        scores[method] = training.score()
    wrong = CASES[case].kind in (Kind.CONFIGURATION, Kind.HELD_OUT)
    cures = oracle_scores(CASES[case], seed) if oracle and wrong else {}
    return Result(case, seed, clean.score(), scores, time.process_time() - started, cures)


def table(results: Sequence[Result]) -> str:
    """Markdown: for each case the seeds rescued by each method, and the sums; beside them the best single cure of a
    wrong set-up, where cures were tried."""
    seeds, oracle = len({result.seed for result in results}), any(result.cures for result in results)
    columns = [*METHODS, *(["oracle"] if oracle else [])]
    lines = [
        f"| case (rescued of {seeds} seeds) | workload | {' | '.join(columns)} |{ORACLE if oracle else ''}",
        f"|---|---|{'---:|' * len(columns)}{'---|---:|---:|' if oracle else ''}",
    ]
    for kind, of_kind in groupby(_in_order(results), key=lambda result: CASES[result.case].kind):
        held, cured = list(of_kind), 0
        for number, of_case in groupby(held, key=lambda result: result.case):
            case, here = CASES[number], list(of_case)
            cells: list[object] = [*_counts(here)]
            if oracle:
                count, *best = _best_cure(here)
                cured += count or 0
                cells += ["-" if count is None else count, *best]
            lines.append(_row(case.name, case.workload, cells))
        counts = [*_counts(held), *([cured] if oracle and held[0].cures else [])]
        shares = [f"**{count}/{len(held)} ({100 * count / len(held):.0f} %)**" for count in counts]
        lines.append(_row(f"**{kind}s**", "", [*shares, *([""] * (len(columns) - len(counts) + 3) if oracle else [])]))
    return "\n".join(lines)


ORACLE = " best single cure | its mean score | the guard's |"


def _best_cure(results: Sequence[Result]) -> tuple[int | None, str, str, str]:
    """The seeds rescued by the cure whose mean score is best, its name, that score, and the guard's.

    Of cures that come to the same within 0.001, the one listed first.
    """
    if not results[0].cures:
        return None, "", "", ""
    means = {name: fmean(result.cures[name] for result in results) for name in results[0].cures}
    best = next(name for name, mean in means.items() if mean >= max(means.values()) - 0.001)
    count = sum(result.cures[best] >= result.clean - MARGIN for result in results)
    return count, best, f"{means[best]:.3f}", f"{fmean(result.scores['guard'] for result in results):.3f}"


def _in_order(results: Iterable[Result]) -> list[Result]:
    return sorted(results, key=lambda result: (result.case, result.seed))


def _counts(results: Sequence[Result]) -> list[int]:
    return [sum(result.rescued(method) for result in results) for method in METHODS]


def _row(name: str, workload: str, cells: Iterable[object]) -> str:
    return f"| {name} | {workload} | {' | '.join(str(cell) for cell in cells)} |"
