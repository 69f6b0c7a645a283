"""Where the fresh process begins that sees whether a fault script fits the trainer of a job."""

from __future__ import annotations

import sys
from pathlib import Path

from supervisor.errors import ExitCode, InputError
from supervisor.faults import FaultInjector, load_faults
from supervisor.process.shadowing import refuse_shadows
from supervisor.process.spec import WorkerSpec
from supervisor.process.trainer_loading import ready_trainer
from supervisor.process.worker import device_of, misfits_told
from supervisor.streams import end, ready_streams, tell

__all__ = ["main"]


def main() -> int:
    """Build the trainer of the job that standard input tells of, and hold its faults against it.

    Returns:
        2 where the job or a fault is wrong, which is said; else 0. What the trainer itself raises is left to the run.
    """
    ready_streams()
    spec = WorkerSpec.from_line(sys.stdin.buffer.read())
    try:
        device = device_of(spec)
        faults = load_faults(spec.faults, spec.origins)
        # Before the working directory comes onto the import path.
        refuse_shadows(Path.cwd())
        trainer = ready_trainer(spec.job, spec.origins, device)
        with misfits_told(spec):
            FaultInjector(faults, trainer, run_dir=spec.run_dir)
    except InputError as error:
        tell(str(error))
        return ExitCode.BAD_INPUT
    except Exception:  # noqa: BLE001  (the user's trainer may raise anything)
        return ExitCode.FINISHED
    return ExitCode.FINISHED


if __name__ == "__main__":
    end(main())
