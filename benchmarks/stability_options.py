"""Whether the options of stability help EnergyFlow: each on the default task, healthy and under planted faults.

    python benchmarks/stability_options.py --seeds 7 8 --write docs/stability_options.md

Five runs of each: healthy, and under either kind of faults without a guard and with it; of float16, which is slow on a
CPU, the healthy one alone. `outliers` are two batches whose values are a thousand times too large, `rate` is a learning
rate ten times too high for five updates. The squared error and MRR are measured at the end, on the validation part. The
config is that of the default job (configs/jobs/energy_flow.yaml), and the option.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# This file's own folder comes first on the path, where a neighbour's name would hide a package that is measured.
sys.path[0] = str(ROOT)

import torch  # noqa: E402
import yaml  # noqa: E402

from benchmarks.pages import Marks, machine  # noqa: E402

MARKS = Marks.of("options")

OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "bfloat16": {"precision": "bfloat16"},
    "adagc": {"gradient_clipping": "adagc"},
    "zclip": {"gradient_clipping": "zclip"},
    "stable_adamw": {"optimizer": "stable_adamw"},
    "ema 0.98": {"ema_decay": 0.98},
    "float16": {"precision": "float16"},
}


RUNS = (("none", False), ("outliers", False), ("outliers", True), ("rate", False), ("rate", True))
"""Which faults, and whether under a guard."""


def faults(kind: str, steps: int) -> list[dict[str, Any]]:
    """The script of a kind, once the training has got going."""
    outliers = [{"kind": "outlier_batch", "at_batch": steps * part // 10, "factor": 1e3} for part in (5, 6)]
    rate = [{"kind": "lr_spike", "at_batch": steps * 6 // 10, "factor": 10.0, "batches": 5}]
    return {"none": [], "outliers": outliers, "rate": rate}[kind]


def measure(name: str, *, seed: int, steps: int, kind: str, guarded: bool) -> dict[str, Any]:
    """One run, in memory, on one thread."""
    from energy_flow.energy_trainer import EnergyTrainer
    from supervisor import Guard
    from supervisor.faults import FaultInjector, FaultScript

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    job = yaml.safe_load((ROOT / "configs" / "jobs" / "energy_flow.yaml").read_text(encoding="utf-8"))
    trainer = EnergyTrainer.from_config({**job["config"], **OPTIONS[name]}, seed=seed, steps=steps)
    script = FaultScript.model_validate({"version": 1, "faults": faults(kind, steps)})
    injector = FaultInjector(script.faults, trainer)
    started = time.perf_counter()
    found: dict[str, Any] = {"option": name, "seed": seed, "steps": steps, "faults": kind, "guarded": guarded}
    if guarded:
        guard = Guard(
            model=trainer.model,
            optimizer=trainer.optimizer,
            loss=injector.loss,
            data=injector.data,
            scheduler=trainer.scheduler,
            scaler=trainer.scaler,
            on_gradients=trainer.on_gradients,
            sanitized=trainer.sanitized,
            quiet=True,
        )
        injector.batches_drawn = lambda: guard.batches_drawn
        summary = guard.run(steps)
        found |= {"incidents": summary.incidents, "applied": summary.applied_steps, "status": str(summary.status)}
    else:
        _train(trainer, injector, steps)
    metrics = trainer.evaluate()
    found["seconds"] = time.perf_counter() - started
    return found | {key: metrics[key] for key in ("squared_error", "mrr", "top1")}


def _train(trainer: Any, injector: Any, steps: int) -> None:
    """A plain loop; where there is a scaler, it skips what overflows."""
    drawn = 0
    injector.batches_drawn = lambda: drawn
    scaler = trainer.scaler
    while drawn < steps:
        for batch in injector.data:
            drawn += 1
            trainer.optimizer.zero_grad()
            loss = injector.loss(batch)
            (loss if scaler is None else scaler.scale(loss)).backward()
            if scaler is not None:
                scaler.unscale_(trainer.optimizer)
            trainer.on_gradients(math.nan)
            if scaler is None:
                trainer.optimizer.step()
            else:
                scaler.step(trainer.optimizer)
                scaler.update()
            trainer.scheduler.step()
            if drawn == steps:
                break


def table(rows: list[dict[str, Any]]) -> list[str]:
    """The rows in Markdown: squared error and MRR of each seed, side by side."""
    lines = [f"| | {' | '.join(kind + (', guard' if guarded else '') for kind, guarded in RUNS)} |", "|---" * 6 + "|"]
    for name in dict.fromkeys(row["option"] for row in rows):
        cells = []
        for kind, guarded in RUNS:
            of = [row for row in rows if (row["option"], row["faults"], row["guarded"]) == (name, kind, guarded)]
            scores = [" / ".join(f"{row[key]:.3f}" for row in of) for key in ("squared_error", "mrr")]
            incidents = sum(row.get("incidents", 0) for row in of)
            cells.append(", ".join(scores) + (f" ({incidents} incidents)" if incidents else "") if of else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [line.replace("| none |", "| healthy |") for line in lines]


def main() -> None:
    """Measure what is asked for, and print a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=250, help="of each run (default: 250)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[7], help="(default: 7)")
    parser.add_argument("--options", nargs="+", choices=list(OPTIONS), default=list(OPTIONS), help="these alone")
    MARKS.add_option(parser)
    given = parser.parse_args()
    MARKS.check(given.write)
    rows = []
    for name in given.options:
        for kind, guarded in RUNS[:1] if name == "float16" else RUNS:
            for seed in given.seeds:
                rows.append(measure(name, seed=seed, steps=given.steps, kind=kind, guarded=guarded))
                print(json.dumps(rows[-1]), flush=True)
    seeds = ", ".join(map(str, given.seeds))
    lines = [f"{given.steps} steps, seeds {seeds}; {machine()}, 1 thread, torch {torch.__version__}.", "", *table(rows)]
    print(*lines, sep="\n")
    if given.write:
        MARKS.put(given.write, "\n".join(lines))


if __name__ == "__main__":
    main()
