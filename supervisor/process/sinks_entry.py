"""Where the process of the sinks begins: beside the run, so that nothing that a sink does touches it. No torch here.

Started by the parent as `shadowing.command` says, with a `SinksSpec` on the first line of its standard input. It tells
the parent what it has to say on its standard output, and ends when the parent writes anything more, or is gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path
from typing import NoReturn

from supervisor.clock import SystemClock
from supervisor.display import writable
from supervisor.process.ending import STOPPING, end_with_parent, first_line, take_lifeline
from supervisor.process.sinks_spec import SinksSpec, SinksWord
from supervisor.run_layout import RunLayout
from supervisor.sinks.base import AboutRun
from supervisor.sinks.choice import builder
from supervisor.sinks.sinks import run_sinks
from supervisor.streams import end, ready_streams

__all__ = ["main"]

POLITENESS = 10
"""How much the training goes first where both want the same processor."""

FIRST_TO_GO = "1000"
"""Where the memory ends, Linux ends this process rather than the training."""


def main() -> NoReturn:
    """Feed the sinks until the run has ended."""
    ready_streams()
    for number in STOPPING:
        # They are for the parent, which lets the sinks end in good order.
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(POLITENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO)
    lifeline = take_lifeline()
    told, _, more = first_line(lifeline).partition(b"\n")
    spec = SinksSpec.from_line(told)
    ending = threading.Event()
    if more:
        # The run was over before this process had begun.
        ending.set()
    end_with_parent(lifeline, ending.set)
    words = _Words()
    about = AboutRun(run_id=spec.run_id, name=spec.run_dir.name, run_dir=spec.run_dir, since=spec.since)
    clock = SystemClock()
    sinks = {name: builder(name, chosen, about, clock, spec.url) for name, chosen in spec.sinks.on().items()}
    run_sinks(sinks, RunLayout(spec.run_dir), words.tell, ending, flush_seconds=spec.sinks.flush_seconds, clock=clock)
    end(0)


class _Words:
    """What goes to the parent. Whatever a package prints goes elsewhere: to where standard error goes."""

    def __init__(self) -> None:
        self._to = os.dup(1)
        os.set_inheritable(self._to, False)
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def tell(self, kind: str, sink: str, text: str) -> None:
        """Tell the parent of a sink."""
        word = SinksWord.model_validate({"kind": kind, "sink": sink, "text": writable(text)})
        with self._lock, contextlib.suppress(OSError):
            os.write(self._to, word.model_dump_json().encode() + b"\n")


if __name__ == "__main__":
    main()
