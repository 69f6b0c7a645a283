"""How much of a run's wall time is useful when faults come: one in 100 steps, and one of every kind.

Three runs of the default job, one after the other: without faults; with one fault of the data or of a gradient in every
100 batches, under the job's own policy; and with one fault of every kind, under the rehearsal policy. On a quiet
machine they take about six minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pages import Marks, machine

ROOT = Path(__file__).resolve().parent.parent
JOB = "configs/jobs/energy_flow.yaml"
MARKS = Marks.of("measured")

CLASSES: dict[str, tuple[tuple[str, ...], str]] = {
    "bad data": (
        ("nan_batch", "inf_batch", "outlier_batch", "nan_sample"),
        "one step: the batch is dropped",
    ),
    "bad gradient": (("nan_gradient", "inf_gradient", "overflow_gradient"), "one step"),
    "exception": (("forward_exception", "out_of_memory"), "one step"),
    "damaged state": (
        ("nan_weight", "nan_optimizer_state", "bit_flip", "lr_spike"),
        "`snapshot.every_steps` and `probation_steps`: how old the newest good state is",
    ),
    "dead worker": (
        ("kill_worker",),
        "`checkpoint.every_steps`, and what a start takes (imports, building the trainer, loading)",
    ),
    "damaged checkpoint": (("corrupt_checkpoint",), "`checkpoint.every_steps`: one checkpoint further back"),
    "hang": (
        ("hang",),
        "`stall_timeout_seconds` first of all, 5 s of grace before the worker is killed, then as a dead worker",
    ),
    "slow step": (("slow_step",), "the step itself: nothing is done about it"),
    "full disk": (("disk_full",), "nothing is lost until a restart, which finds an older checkpoint"),
}
"""The kinds of each class, and what bounds its cost."""


def main() -> None:
    """Run, and print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    MARKS.add_option(parser)
    parser.add_argument("--keep", type=Path, help="keep the run directories here")
    parser.add_argument("--set", action="append", default=[], help="as `supervisor rehearse --set`, for a smaller job")
    arguments = parser.parse_args()
    MARKS.check(arguments.write)
    with tempfile.TemporaryDirectory(prefix="ettr-") as temporary:
        text = measured(arguments.keep or Path(temporary), [part for each in arguments.set for part in ("--set", each)])
    if arguments.write is None:
        print(text)
        return
    MARKS.put(arguments.write, text)


def measured(folder: Path, settings: Sequence[str]) -> str:
    """Run all three and describe them in Markdown."""
    load = os.getloadavg()[0]
    reference = folder / "reference"
    supervisor("run", JOB, "--run-dir", str(reference), *settings)
    drawn = rehearsed(folder, "one_per_100_steps", reference, settings)
    policy = ("--policy", "configs/policies/rehearsal.yaml")
    everything = rehearsed(folder, "everything", reference, [*policy, *settings])
    step = everything["rehearsal"]["useful_seconds"] / everything["rehearsal"]["applied_steps"]
    return "\n".join(
        [
            f"{machine()}, {os.cpu_count()} cores, torch {version('torch')}; load average {load:.1f} before the runs.",
            "",
            *goodput(drawn, everything),
            "",
            *by_class(everything, step),
            "",
            *table(everything),
            "",
        ]
    )


def rehearsed(folder: Path, name: str, reference: Path, more: Sequence[str]) -> Any:
    """The score of a rehearsal with one of the shipped sets."""
    faults = ("--faults", f"configs/faults/{name}.yaml", "--reference", str(reference))
    done = supervisor("rehearse", JOB, *faults, "--run-dir", str(folder / name), "--json", *more)
    return json.loads(done)


def supervisor(*arguments: str) -> str:
    """What a command prints.

    Raises:
        subprocess.CalledProcessError: it did not end well.
    """
    command = [sys.executable, "-m", "supervisor", *arguments]
    print("+", *command[1:], file=sys.stderr)
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def goodput(drawn: Any, everything: Any) -> list[str]:
    """ETTR of the three runs."""
    rows = [
        ("none", 0, drawn["reference"]),
        ("one of the data or of a gradient per 100 steps", drawn["strikes"], drawn["rehearsal"]),
        ("everything at once", everything["strikes"], everything["rehearsal"]),
    ]
    return [
        "| faults | how many | useful s | wall s | ETTR | final loss | held-out squared error |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {name} | {count} | {run['useful_seconds']:.1f} | {run['wall_seconds']:.1f} | {run['ettr']:.1%} "
            f"| {run['final_loss']:.4f} | {run['metrics']['squared_error']:.4f} |"
            for name, count, run in rows
        ),
    ]


def by_class(score: Any, step: float) -> list[str]:
    """What one fault of each class costs, and the ETTR that follows from it."""
    lines = [
        f"By class, the mean over its faults; a step takes {step * 1e3:.0f} ms.",
        "",
        "| class | faults | steps lost | seconds lost | ETTR at one per 100 steps | at one an hour | bounded by |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, (kinds, bound) in CLASSES.items():
        each = [strike for strike in score["each"] if strike["kind"] in kinds]
        if not each:
            continue
        steps = sum(strike["steps_lost"] for strike in each) / len(each)
        seconds = sum(strike["seconds_lost"] for strike in each) / len(each)
        often, seldom = (useful / (useful + seconds) for useful in (100 * step, 3600.0))
        numbers = f"{len(each)} | {steps:.1f} | {seconds:.2f} | {often:.1%} | {seldom:.2%}"
        lines.append(f"| {name} | {numbers} | {bound} |")
    return lines


def table(score: Any) -> list[str]:
    """The score table of the last run."""
    lines = [
        f"Everything at once: {score['detected']} of {score['strikes']} strikes detected, "
        f"{score['diagnosed_right']} of {score['diagnosed']} diagnoses right, "
        f"{score['unexplained']} false alarms.",
        "",
        "| fault | at batch | detected by | diagnosed | cured by | steps lost | seconds lost |",
        "|---|---|---|---|---|---|---|",
    ]
    for fault in score["faults"]:
        each = [strike for strike in score["each"] if strike["fault"] == fault["fault"]]
        where = str(each[0]["batch"]) if len(each) == 1 else f"{len(each)} times"
        late = f", {fault['longest_delay_steps']} later" if fault["longest_delay_steps"] else ""
        detected = words(fault["findings"]) + late if fault["detected"] == len(each) else "missed"
        verdict = "" if not fault["diagnosed"] else f": {fault['diagnosed_right']} of {fault['diagnosed']} right"
        lines.append(
            f"| {fault['kind']} | {where} | {detected} | {words(fault['causes'])}{verdict} | "
            f"{words(fault['cured_by'])} | {fault['steps_lost']} | {fault['seconds_lost']:.2f} |"
        )
    return lines


def words(counts: dict[str, int]) -> str:
    """`skip_batch`, or `3 skip_batch, 1 restart`."""
    if len(counts) < 2:
        return next(iter(counts), "-")
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def version(package: str) -> str:
    """A package's version."""
    from importlib.metadata import version as found

    return found(package)


if __name__ == "__main__":
    main()
