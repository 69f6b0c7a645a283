"""Watches a run from outside, on a terminal or in a pipe, until it has ended."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.text import Text

from supervisor.clock import Clock, SystemClock
from supervisor.events.reader import check_run_dir, follow
from supervisor.events.safe_console import console_on_stdout
from supervisor.events.schema import StepEvent
from supervisor.events.step_line import Shown, step_line
from supervisor.live.drawing import STYLES
from supervisor.live.fold import LiveFold
from supervisor.live.screen import Screen, shows_a_view
from supervisor.live.view import LiveView
from supervisor.report.tables import render_summary
from supervisor.run_layout import RunLayout

__all__ = ["tell_run", "watch_run"]

LOOK_SECONDS = 0.25


def watch_run(run_dir: Path, clock: Clock | None = None) -> None:
    """Show a run on the standard output: a view where that is a terminal, else lines.

    Raises:
        InputError: there is no run here, or its log is damaged before its end.
    """
    check_run_dir(run_dir)
    if shows_a_view():
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        _show(run_dir, Screen(sys.stdout.fileno(), encoding), encoding, clock or SystemClock())
    else:
        tell_run(run_dir, console_on_stdout(), clock)


def _show(run_dir: Path, screen: Screen, encoding: str, clock: Clock) -> None:
    def continued(number: int, frame: FrameType | None) -> None:
        screen.forget()

    view = LiveView(RunLayout(run_dir), str(run_dir), screen, encoding, clock)
    before = signal.signal(signal.SIGCONT, continued)
    try:
        lines = view.history()
        while True:
            # One whose folder is removed meanwhile has no log any more, and would not be said to have ended.
            check_run_dir(run_dir)
            told, picture = view.look()
            screen.draw(lines + told, view.rows(picture))
            lines = []
            if not view.goes_on:
                return
            clock.sleep(LOOK_SECONDS)
    finally:
        screen.whole()
        signal.signal(signal.SIGCONT, before)


def tell_run(run_dir: Path, console: Console, clock: Clock | None = None) -> None:
    """The whole story of a run in lines, as the run itself tells it in a pipe, until it has ended or nobody reads on.

    Beside what the worker alone knows: its memory, and the goodput of each step.

    Raises:
        InputError: as `watch_run`.
    """
    fold = LiveFold()

    def left() -> bool:
        return getattr(console.file, "reader_left", False)

    for event in follow(run_dir, clock=clock, stop=left):
        for line in fold.tell(event):
            console.print(Text(line.text, STYLES[line.tone]), soft_wrap=True)
        if isinstance(event, StepEvent) and not event.rank:
            console.print(Text(step_line(Shown.of(event, steps_a_second=fold.speed), fold.steps)), soft_wrap=True)
        if left():
            return
    if fold.summary is not None:
        console.print(render_summary(fold.summary, run_dir))
