"""The faults of `supervisor rehearse` in the default job, with each cell."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.cell_study.common import CELLS, Plan, table
from energy_flow.config import CellName

__all__ = ["WORSE", "faults", "script_of"]

ROOT = Path(__file__).resolve().parents[2]
JOB, FAULTS, POLICY = (
    f"configs/{name}" for name in ("jobs/energy_flow.yaml", "faults/everything.yaml", "policies/rehearsal.yaml")
)

WORSE = 1.05
"""A run is rescued where it finished and its squared error is within this factor of that without faults."""

RECURRENT: dict[CellName, str] = {
    "gru": "weight_hh_l0",
    "mingru": "weight_ih_l0",
    "layer_norm_gru": "weight_hh_l0",
    "lru": "log_rate_l0",
}
"""What of each cell is damaged where the script says the GRU's hidden weights."""

FIRST_LOOK = """\
version: 1
faults:
  - {kind: nan_batch, at_batch: 12}
  - {kind: nan_gradient, at_batch: 24, parameter: carrier.gru.*}
  - {kind: nan_weight, at_batch: 40, parameter: carrier.gru.weight_hh_l0}
"""


def script_of(name: CellName, quick: bool) -> str:
    """The shipped script of every kind of fault, aimed at this cell instead of the GRU."""
    text = FIRST_LOOK if quick else (ROOT / FAULTS).read_text(encoding="utf-8")
    return text.replace("carrier.gru.weight_hh_l0", f"carrier.{name}.{RECURRENT[name]}").replace(
        "carrier.gru.", f"carrier.{name}."
    )


def faults(plan: Plan) -> list[str]:
    """The table of rehearsals."""
    rows = []
    for name in CELLS:
        scores = [rehearsed(name, seed, plan) for seed in range(plan.seeds)]
        strikes = sum(score["strikes"] for score in scores)
        rows.append(
            (
                name,
                f"{sum(score['detected'] for score in scores)} of {strikes}",
                sum(len(incidents_of(score)) for score in scores),
                sum(score["unexplained"] for score in scores),
                f"{sum(map(rescued, scores))} of {plan.seeds}",
                *(held_out(scores, run, key) for key in ("squared_error", "mrr") for run in ("reference", "rehearsal")),
            )
        )
    head = (
        *("cell", "faults detected", "incidents", "false alarms", "rescued"),
        *("error without faults", "with them", "MRR without faults", "with them"),
    )
    what = "three faults" if plan.quick else "one fault of each kind"
    return [
        f"**The faults of a rehearsal**: {plan.rehearsal_steps} steps of the default job without and with {what}, "
        f"{plan.seeds} seeds; those of weights, gradients and optimizer state strike the cell. Rescued: "
        f"finished, and the squared error within {WORSE - 1:.0%} of the run without faults. The scores are of the "
        "validation part, medians of the seeds (lowest to highest).",
        "",
        *table(head, rows),
    ]


def incidents_of(score: Any) -> set[int]:
    """Numbers of the incidents that the faults opened."""
    return {strike["incident"] for strike in score["each"] if strike["incident"] is not None}


def rescued(score: Any) -> bool:
    """Whether the run with the faults came to the same as the one without."""
    run, reference = score["rehearsal"], score["reference"]
    if run["status"] != "finished":
        return False
    return bool(run["metrics"]["squared_error"] <= WORSE * reference["metrics"]["squared_error"])


def held_out(scores: list[Any], run: str, key: str) -> str:
    """The median of a metric over the seeds, and how far it goes."""
    values = [score[run]["metrics"].get(key) for score in scores]
    found = [value for value in values if isinstance(value, int | float)]
    if not found:
        return "-"
    spread = f" ({min(found):.4f} to {max(found):.4f})" if len(found) > 1 else ""
    return f"{statistics.median(found):.4f}{spread}"


def rehearsed(name: CellName, seed: int, plan: Plan) -> Any:
    """The score of one rehearsal, as `supervisor rehearse --json` gives it."""
    with tempfile.TemporaryDirectory(prefix="cells-") as folder:
        script = Path(folder) / "faults.yaml"
        script.write_text(script_of(name, plan.quick), encoding="utf-8")
        settings = {"config.carrier_cell": name, "seed": seed, "steps": plan.rehearsal_steps}
        command = [
            *(sys.executable, "-m", "supervisor", "rehearse", JOB, "--faults", str(script), "--policy", POLICY),
            *("--run-dir", str(Path(folder) / "run"), "--json"),
            *(part for key, value in settings.items() for part in ("--set", f"{key}={value}")),
        ]
        print("+", *command[1:], file=sys.stderr, flush=True)
        done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
        if not done.stdout.strip():
            raise SystemExit(f"{done.stderr}the rehearsal of {name} with seed {seed} ended with {done.returncode}")
        return json.loads(done.stdout)
