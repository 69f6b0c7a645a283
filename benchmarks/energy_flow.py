"""Speed and memory of EnergyFlow: the three presets, and how time grows with flows and with depth.

Every measurement runs in a fresh process, so that its peak memory is its own. Times are medians over repeated
passes after a warm-up. On the CPU, peak memory is the growth of the process's largest resident set beyond what it
held before the model was built (weights, gradients, optimizer state and activations); with `--device cuda` it is
what the allocator held at most. What bounds a step is told by the profiler, in a process of its own.

    python benchmarks/energy_flow.py --write docs/energy_flow.md
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# This file's own folder comes first on the path, where its name would hide the package it measures.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks.pages import Marks, machine  # noqa: E402

BATCHES = {"small": 32, "debug": 4, "experiment": 1}
"""Batch size for each preset: larger ones fit too, but these end in reasonable time on two cores."""


MARKS = Marks.of("presets")


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Run one measurement in this process: seconds a pass, and bytes at the peak; or what bounds it."""
    import torch

    from energy_flow.config import EnergyConfig
    from energy_flow.model import EnergyFlow

    torch.set_num_threads(request["threads"])
    torch.manual_seed(0)
    device = torch.device(request["device"])
    config = EnergyConfig.model_validate(request["config"])
    question = torch.nn.functional.normalize(torch.randn(request["batch"], config.embedding_dim), dim=1).to(device)
    before = _resident_peak()
    model = EnergyFlow(config).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def one_pass() -> None:
        if not request["training"]:
            with torch.no_grad():
                model(question)
            return
        output = model(question)
        loss = (output.answer_BE - question).square().sum(dim=1).mean() + 0.1 * output.shortfall
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    model.train(request["training"])
    if request.get("profile"):
        from benchmarks.energy_flow_profile import profiled

        one_pass()
        return {"bound": str(profiled(one_pass, request["repeats"]))}
    clock = time.process_time if request["cpu_time"] else time.perf_counter
    times = []
    for number in range(request["warmup"] + request["repeats"]):
        started = clock()
        one_pass()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if number >= request["warmup"]:
            times.append(clock() - started)
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else _resident_peak() - before
    return {"seconds": statistics.median(times), "bytes": float(peak)}


def _resident_peak() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def in_fresh_process(request: dict[str, Any]) -> dict[str, Any]:
    """Run `measure` in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--measure", json.dumps(request)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parent.parent,
    )
    if done.returncode != 0:
        raise SystemExit(f"a measurement failed with exit code {done.returncode}:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _ran_on() -> str:
    """Processor, cores, accelerator, versions and load."""
    import torch

    accelerator = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{machine()}, {os.cpu_count()} cores{accelerator}; {versions}; load average {os.getloadavg()[0]:.1f}"


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """Slope of log time over log size between the ends: 1 is linear growth."""
    return math.log(seconds[-1] / seconds[0]) / math.log(sizes[-1] / sizes[0])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repeats and sizes, without the experiment preset")
    parser.add_argument("--threads", type=int, default=1, help="threads that torch may use (default: 1)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to run (default: cpu)")
    parser.add_argument("--json", type=Path, help="also write all measurements to this file")
    parser.add_argument("--cpu-time", action="store_true", help="CPU time, where the machine is loaded")
    parser.add_argument("--presets", action="store_true", help="the presets alone, not how time grows")
    MARKS.add_option(parser)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(json.loads(arguments.measure))))
        return

    MARKS.check(arguments.write)
    where = (
        f"{_ran_on()}; {arguments.threads} thread(s), device {arguments.device}; "
        f"{'CPU' if arguments.cpu_time else 'wall'} time"
    )
    results: list[dict[str, Any]] = []

    def run(
        label: str, config: dict[str, Any], batch: int, training: bool, repeats: int, profile: bool = False
    ) -> dict[str, Any]:
        request = {
            "config": config,
            "batch": batch,
            "training": training,
            "warmup": 2,
            "repeats": repeats,
            "threads": arguments.threads,
            "device": arguments.device,
            "profile": profile,
            "cpu_time": arguments.cpu_time,
        }
        result = in_fresh_process(request)
        results.append({"label": label, **request, **result})
        return result

    from energy_flow.config import PRESETS, EnergyConfig

    print(f"{where}\n")
    print(f"{'preset':<12}{'batch':>6}{'flows':>8}  {'mode':<9}{'steps/s':>9}{'ms/step':>10}{'peak MB':>9}")
    lines = [
        f"{where}.",
        "",
        "| preset | batch | flows | forward, ms | training step, ms | ms a pair | peak MB | what bounds a step |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, preset in PRESETS.items():
        if arguments.quick and name == "experiment":
            continue
        batch = BATCHES[name]
        flows = batch * EnergyConfig.preset(name).flow_slots
        repeats = 5 if name == "experiment" or arguments.quick else 20
        passes = []
        for training in (False, True):
            result = run(name, dict(preset), batch, training, repeats)
            mode, seconds = "training" if training else "forward", result["seconds"]
            print(
                f"{name:<12}{batch:>6}{flows:>8}  {mode:<9}{1 / seconds:>9.2f}{seconds * 1e3:>10.1f}"
                f"{result['bytes'] / 1e6:>9.0f}",
                flush=True,
            )
            passes.append(seconds * 1e3)
        bound = run(name, dict(preset), batch, True, 1 if name == "experiment" else 3, profile=True)["bound"]
        print(f"{'':<12}{bound}", flush=True)
        each = f"{passes[0]:,.1f} | {passes[1]:,.1f} | {passes[1] / batch:,.1f}"
        lines.append(f"| `{name}` | {batch} | {flows:,} | {each} | {result['bytes'] / 1e6:,.0f} | {bound} |")
    if arguments.write:
        MARKS.put(arguments.write, "\n".join(lines))
    if not arguments.presets:
        print_growth(run, quick=arguments.quick)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": where, "results": results}, indent=1) + "\n")


def print_growth(run: Callable[[str, dict[str, Any], int, bool, int], dict[str, Any]], *, quick: bool) -> None:
    """Print how time grows with the flows and with the depth."""
    from energy_flow.config import PRESETS, EnergyConfig

    small = dict(PRESETS["small"])
    slots = EnergyConfig.preset("small").flow_slots
    repeats = 5 if quick else 20
    batches = [8, 32, 128] if quick else [4, 8, 16, 32, 64, 128]
    depths = [4, 8, 16] if quick else [4, 8, 16, 32, 64]
    growths = [
        ("flows F (small, by batch size)", [(small, batch) for batch in batches], [batch * slots for batch in batches]),
        ("depth D (small, batch 32)", [({**small, "lattice_depth": depth}, 32) for depth in depths], depths),
    ]
    for title, cases, sizes in growths:
        print(f"\ntraining time by {title}\n{'size':>8}{'ms/step':>10}{'peak MB':>9}")
        seconds = []
        for (config, batch), size in zip(cases, sizes, strict=True):
            result = run(title, config, batch, True, repeats)
            seconds.append(result["seconds"])
            print(f"{size:>8}{result['seconds'] * 1e3:>10.1f}{result['bytes'] / 1e6:>9.0f}", flush=True)
        print(f"time grows as size to the power {exponent(sizes, seconds):.2f} (1 is linear)")


if __name__ == "__main__":
    main()
