"""All sinks of a run, each fed on a thread of its own; watched, and ended within a bounded time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from supervisor.clock import Clock
from supervisor.run_layout import RunLayout
from supervisor.sinks.base import Sink
from supervisor.sinks.feeding import Feeding, Report

__all__ = ["EndRequest", "run_sinks"]

WATCH_SECONDS = 0.5
END_POLL_SECONDS = 0.02


class EndRequest(Protocol):
    """As `threading.Event`: set when the sinks are to end."""

    def wait(self, timeout: float) -> bool:
        """Return once it is set, or after so many seconds: whether it is set."""
        ...


def run_sinks(
    sinks: Mapping[str, Callable[[], Sink]],
    layout: RunLayout,
    report: Report,
    end: EndRequest,
    *,
    flush_seconds: float,
    clock: Clock,
) -> None:
    """Feed sinks until they are to end, and then until they are done or their time is up.

    Args:
        sinks: what makes each of them, by name.
        layout: of the run directory.
        report: hears what the user is to be told; called from several threads.
        end: set when the run has ended.
        flush_seconds: how long they may take from then on.
        clock: for that, and for how long a call takes.
    """
    feedings = [Feeding(name, build, layout, report, clock) for name, build in sinks.items()]
    for each in feedings:
        each.thread.start()
    while not end.wait(WATCH_SECONDS):
        for each in feedings:
            each.watch()
    for each in feedings:
        each.end()
    deadline = clock.monotonic() + flush_seconds
    while any(each.thread.is_alive() for each in feedings) and clock.monotonic() < deadline:
        clock.sleep(END_POLL_SECONDS)
    for each in feedings:
        if each.thread.is_alive():
            each.left_behind()
