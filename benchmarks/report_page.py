"""How long `supervisor report` takes with a log of 100,000 steps, what memory, and how large the page is.

python benchmarks/report_page.py
python benchmarks/report_page.py --steps 1000000 --incidents 100
python benchmarks/report_page.py --keep page.html    for `python scripts/check_page.py page.html`
"""

from __future__ import annotations

import argparse
import math
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from supervisor.events import schema  # noqa: E402
from supervisor.events.incident_file import IncidentFile  # noqa: E402
from supervisor.events.writer import EventLog  # noqa: E402
from supervisor.policy import RecoveryPolicy  # noqa: E402
from supervisor.policy.load import resolved_yaml  # noqa: E402
from supervisor.records import ActionName, SignalName  # noqa: E402
from supervisor.run_layout import RunLayout  # noqa: E402
from supervisor.testing.clock import FakeClock  # noqa: E402

MOST_SECONDS, MOST_MEMORY_MB, MOST_PAGE_MB = 10, 500, 8


def main() -> int:
    """Write the run, draw its page, and compare with what is allowed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--incidents", type=int, default=200)
    parser.add_argument("--keep", type=Path, help="where the page goes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="report-page-") as folder:
        layout = RunLayout(Path(folder) / "run")
        write_run(layout, arguments.steps, arguments.incidents)
        page = arguments.keep or Path(folder) / "page.html"
        size = sum(path.stat().st_size for path in layout.event_files()) / 2**20
        print(f"{arguments.steps} steps, {arguments.incidents} incidents, {size:.0f} MB of log", end="; ")
        print(f"load average {os.getloadavg()[0]:.1f}")
        began = time.perf_counter()
        command = [sys.executable, "-m", "supervisor", "report", str(layout.root), "-o", str(page)]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        memory = used.ru_maxrss / 2**10
        page_size = page.stat().st_size / 2**20
    print(f"time        {seconds:6.1f} s   of {MOST_SECONDS}; of a processor {used.ru_utime + used.ru_stime:.1f} s")
    print(f"peak memory {memory:6.0f} MB  of {MOST_MEMORY_MB}")
    print(f"page        {page_size:6.1f} MB  of {MOST_PAGE_MB}")
    return 0 if seconds < MOST_SECONDS and memory < MOST_MEMORY_MB and page_size < MOST_PAGE_MB else 1


def write_run(layout: RunLayout, steps: int, incidents: int) -> None:
    """A run that logs every step: a noisy loss, some values that are not finite, incidents, checkpoints, one death."""
    draw, clock = random.Random(1), FakeClock(tick_seconds=0.01)
    parent = EventLog(layout.parent_events, "run", None, clock)
    parent.emit(schema.WorkerStartedEvent(pid=1, steps=steps))
    worker = EventLog(layout.rank_events, "run", 0, clock)
    worker.emit(schema.RunStartedEvent(steps=steps))
    every = max(1, steps // max(1, incidents))
    for step in range(steps):
        if step == steps // 2:
            killed = schema.ExitClassification.KILLED
            parent.emit(schema.WorkerExitedEvent(pid=1, exit_code=None, signal="SIGKILL", classification=killed))
            parent.emit(schema.WorkerStartedEvent(pid=2, steps=steps))
            worker = EventLog(layout.rank_events, "run", 0, clock)
            worker.emit(schema.RunResumedEvent(step=step, update=step, checkpoint_step=step))
        if step % 200 == 199:
            path = f"checkpoints/step-{step + 1:08d}"
            worker.emit(schema.CheckpointSavedEvent(step=step, update=step, checkpoint_step=step + 1, path=path))
        if step % every == every // 2 and step // every < incidents:
            _incident(layout, worker, step // every + 1, step)
            continue
        noise = math.exp(draw.gauss(0, 0.15))
        worker.emit(
            schema.StepEvent(
                step=step,
                update=step,
                loss=math.nan if step % 4999 == 4998 else (3 * math.exp(-4 * step / steps) + 0.1) * noise,
                grad_norm=draw.lognormvariate(0, 0.4),
                lr=1e-3 * (1 - step / steps),
                lr_scale=1.0,
                step_seconds=0.05 * noise,
                applied_seconds=0.009 * step,
                states_seconds=0.0,
            )
        )
    layout.policy.write_text(resolved_yaml(RecoveryPolicy()), encoding="utf-8")


def _incident(layout: RunLayout, worker: EventLog, number: int, step: int) -> None:
    place, action = {"step": step, "update": step}, ActionName.SKIP_BATCH
    worker.emit(schema.SignalEvent.model_validate({**place, "signal": "nonfinite_gradient", "grad_norm": "nan"}))
    worker.emit(schema.IncidentOpenedEvent(**place, incident=number, signals=(SignalName.NONFINITE_GRADIENT,)))
    worker.emit(schema.DecisionEvent(**place, incident=number, rung=0, action=action, attempt=1, reason="opens it"))
    worker.emit(schema.ActionAppliedEvent(**place, incident=number, action=action, seconds=0.01))
    worker.emit(schema.IncidentClosedEvent(**place, incident=number, cured_by=action, steps_lost=1, seconds=1.0))
    record = IncidentFile.model_validate(
        {
            "id": number,
            "opened_at_step": step,
            "closed_at_step": step + 20,
            "signals": ["nonfinite_gradient"],
            "decisions": [{"incident": number, "rung": 0, "action": action, "attempt": 1, "reason": "opens it"}],
            "outcome": "recovered",
            "cured_by": action,
            "cost": {"steps_lost": 1, "seconds": 1.0},
            "cause": {"kind": "backward_only", "explanation": "the gradient is not finite", **place, "module": "gru"},
        }
    )
    folder = layout.incident(number)
    folder.mkdir(parents=True)
    (folder / "incident.json").write_text(record.model_dump_json(indent=2), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
