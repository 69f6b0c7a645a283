"""Where a worker process begins: what stops it, shows its stacks and ends it with its parent is set up before torch.

Started by the parent as `shadowing.command` says, with a `WorkerSpec` on the first line of its standard input.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import sys

from supervisor.errors import ExitCode, InputError, traceback_of
from supervisor.process.ending import StopRequest, end_with_parent
from supervisor.process.heartbeat import Heartbeat
from supervisor.process.spec import WorkerSpec
from supervisor.process.stacks import STACK_SIGNAL

__all__ = ["main"]


def main() -> int:
    """Run the job. The exit code says how it went; the heartbeat says whether it counts."""
    stop = StopRequest()
    # Unbuffered: a buffered reader's lock would be held by the thread that waits on it when the interpreter ends.
    lifeline = sys.stdin.fileno()
    spec = WorkerSpec.model_validate_json(_first_line(lifeline))
    end_with_parent(lifeline)
    heartbeat = Heartbeat(spec.layout.heartbeat)
    # To append to, as the processes of a loader and the parent do in the same file.
    with spec.layout.stacks.open("a") as stacks:
        faulthandler.register(STACK_SIGNAL, file=stacks, all_threads=True)
        code = _work(spec, stop, heartbeat)
        faulthandler.unregister(STACK_SIGNAL)
    if code != ExitCode.BUG:
        heartbeat.end(code)
    # The interpreter would look for cycles in all that torch consists of, which takes most of a second.
    gc.freeze()
    return code


def _first_line(descriptor: int) -> bytes:
    read = b""
    while not read.endswith(b"\n"):
        part = os.read(descriptor, 1 << 16)
        if not part:
            break
        read += part
    return read


def _work(spec: WorkerSpec, stop: StopRequest, heartbeat: Heartbeat) -> int:
    try:
        # torch takes over a second to import: whatever comes meanwhile is already looked after. Nothing of it becomes
        # garbage, and looking for that takes a third as long again.
        gc.disable()
        from supervisor.process.worker import run_job

        gc.freeze()
        gc.enable()
        return run_job(spec, stop, heartbeat)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return ExitCode.BAD_INPUT
    except BaseException as error:  # noqa: BLE001  (SystemExit of a trainer's too: a run ends only when it is done)
        story = traceback_of(error)
        sys.stderr.write(story)
        spec.layout.last_error.write_text(story, encoding="utf-8")
        return ExitCode.BUG


if __name__ == "__main__":
    raise SystemExit(main())
