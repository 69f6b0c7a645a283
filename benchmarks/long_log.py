"""How long `status`, `explain` and `events --event` take with a log of a million lines of a run.

python benchmarks/long_log.py
python benchmarks/long_log.py --lines 100000
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from supervisor.events import schema  # noqa: E402
from supervisor.events.schema import KnownEvent  # noqa: E402
from supervisor.events.writer import EventLog  # noqa: E402
from supervisor.testing.clock import FakeClock  # noqa: E402

CHECKPOINT_EVERY = 200


def main() -> None:
    """Write the log and time the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="long-log-") as folder:
        run_dir = Path(folder) / "run"
        write_log(run_dir, arguments.lines)
        size = sum(path.stat().st_size for path in (run_dir / "events").iterdir()) / 2**20
        print(f"{arguments.lines} lines, {size:.0f} MiB; load average {os.getloadavg()[0]:.1f}")
        for command in (("status",), ("explain",), ("events", "--event", "run_started")):
            name, *options = command
            began = time.perf_counter()
            supervisor = [sys.executable, "-m", "supervisor", name, str(run_dir), *options]
            subprocess.run(supervisor, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            print(f"{' '.join(command):<28}{time.perf_counter() - began:6.2f} s")


def write_log(run_dir: Path, lines: int) -> None:
    """A run that logs every step, with a checkpoint now and then, and a death of its worker half-way."""
    clock = FakeClock(tick_seconds=0.01)
    parent = EventLog(run_dir / "events" / "supervisor.jsonl", "run", None, clock)
    update, died = 0, schema.ExitClassification.KILLED
    for first, last in ((0, lines // 2), (lines // 2, lines)):
        parent.emit(schema.WorkerStartedEvent(pid=first + 1, steps=2 * lines))
        worker = EventLog(run_dir / "events" / "rank0.jsonl", "run", 0, clock)
        if first == 0:
            worker.emit(schema.RunStartedEvent(steps=2 * lines))
        else:
            update -= update % CHECKPOINT_EVERY
            worker.emit(schema.RunResumedEvent(checkpoint_step=update, update=update))
        for _ in range(first, last):
            worker.emit(_event(update))
            update += 1
        if first == 0:
            parent.emit(schema.WorkerExitedEvent(pid=1, exit_code=None, signal="SIGKILL", classification=died))


def _event(update: int) -> KnownEvent:
    if update % CHECKPOINT_EVERY == CHECKPOINT_EVERY - 1:
        path = f"checkpoints/step-{update + 1:08d}"
        return schema.CheckpointSavedEvent(step=update, update=update, checkpoint_step=update + 1, path=path)
    return schema.StepEvent(
        step=update,
        update=update,
        loss=1 / (1 + update),
        grad_norm=1.5,
        lr=1e-3,
        lr_scale=1.0,
        step_seconds=0.01,
        applied_seconds=0.009 * update,
        states_seconds=0.0,
    )


if __name__ == "__main__":
    main()
