"""Where a worker process begins: what stops it, shows its stacks and ends it with its parent is set up before torch.

Started by the parent as `shadowing.command` says, with a `WorkerSpec` on the first line of its standard input.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
from collections.abc import Iterator
from typing import IO

from supervisor.errors import ExitCode, InputError, traceback_of
from supervisor.process.ending import StopRequest, end_with_parent, first_line, take_lifeline
from supervisor.process.heartbeat import Heartbeat
from supervisor.process.spec import WorkerSpec
from supervisor.process.stacks import STACK_SIGNAL
from supervisor.streams import leave_streams, ready_streams, tell

__all__ = ["main"]


def main() -> int:
    """Run the job. The exit code says how it went; the heartbeat says whether it counts."""
    ready_streams()
    stop = StopRequest()
    # Unbuffered: a buffered reader's lock would be held by the thread that waits on it when the interpreter ends.
    lifeline = take_lifeline()
    spec = WorkerSpec.from_line(first_line(lifeline))
    end_with_parent(lifeline)
    heartbeat = Heartbeat(spec.layout.heartbeat)
    with _stacks_on_demand(spec):
        code = _work(spec, stop, heartbeat)
    leave_streams()
    if code != ExitCode.BUG:
        heartbeat.end(code)
    # The interpreter would look for cycles in all that torch consists of, which takes most of a second.
    gc.freeze()
    return code


@contextlib.contextmanager
def _stacks_on_demand(spec: WorkerSpec) -> Iterator[None]:
    """Write every thread's stack to a file when the parent asks, or the process crashes.

    Where that file cannot be written, they go to stderr.
    """
    with contextlib.ExitStack() as open_file:
        stacks: IO[str] | int = 2
        with contextlib.suppress(OSError):
            # To append to, as the processes of a loader and the parent do in the same file.
            stacks = open_file.enter_context(spec.layout.stacks.open("a"))
        faulthandler.register(STACK_SIGNAL, file=stacks, all_threads=True)
        # Whoever has enabled it before (PYTHONFAULTHANDLER) reads elsewhere.
        ours = not faulthandler.is_enabled()
        if ours:
            faulthandler.enable(file=stacks, all_threads=True)
        yield
        if ours:
            faulthandler.disable()
        faulthandler.unregister(STACK_SIGNAL)


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
        _note(spec, str(error))
        tell(str(error))
        return ExitCode.BAD_INPUT
    except BaseException as error:  # noqa: BLE001  (SystemExit of a trainer's too: a run ends only when it is done)
        story = traceback_of(error)
        _note(spec, story)
        tell(story.rstrip("\n"))
        return ExitCode.BUG


def _note(spec: WorkerSpec, story: str) -> None:
    """Leave behind what it ended by, for the parent to put on record."""
    with contextlib.suppress(OSError):
        spec.layout.last_error.write_text(story, encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
