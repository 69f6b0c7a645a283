"""Shows a run on the console while it runs: recoveries as lines, progress as a bar or as lines."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from supervisor.clock import Clock, SystemClock
from supervisor.events.narration import Line, Narrator, Tone, describe_step
from supervisor.events.schema import Event, StepEvent

__all__ = ["ConsoleRenderer"]

_REFRESH_SECONDS = 0.1
_STYLES = {Tone.PLAIN: "", Tone.RECOVERY: "yellow", Tone.GOOD: "green", Tone.BAD: "bold red"}


class ConsoleRenderer:
    """A listener of the event log that shows a run to a person.

    On a terminal, and inside `with`, a progress bar stays at the bottom and recoveries are printed above it.
    Elsewhere each `step` event is one plain line.

    Args:
        total_steps: where the schedule ends; None where that is not known.
        console: where to print.
        clock: how often the bar is redrawn is counted on it.
    """

    def __init__(self, total_steps: int | None, console: Console, clock: Clock | None = None) -> None:
        self._total_steps = total_steps
        self._console = console
        self._clock = clock or SystemClock()
        self._narrator = Narrator()
        self._progress: Progress | None = None
        self._drawn_at = float("-inf")

    def __call__(self, event: Event) -> None:
        """Show `event`."""
        for line in self._narrator.tell(event):
            self._print(line)
        if not isinstance(event, StepEvent):
            return
        if self._progress is None:
            self._print(Line(describe_step(event, self._total_steps), Tone.PLAIN))
        elif event.step is not None:
            self._drawn_at = float("-inf")  # due at once
            self.advance(event.step, event.loss, event.grad_norm, event.lr_scale, event.rung, event.incidents)

    def advance(
        self, step: int, loss: float, grad_norm: float, lr_scale: float, rung: int | None, incidents: int
    ) -> None:
        """Move the bar after each step: cheap, redrawn ten times a second at most; no-op without a bar.

        Args:
            step: the step that was done, from 0.
            loss: its loss.
            grad_norm: its gradient norm.
            lr_scale: product of the cuts in force.
            rung: rung used last in the open incident, None when none is open.
            incidents: incidents opened so far.
        """
        if self._progress is None or self._clock.monotonic() - self._drawn_at < _REFRESH_SECONDS:
            return
        on_rung = "-" if rung is None else str(rung)
        numbers = f"loss {loss:.4g}  grad {grad_norm:.4g}  lr x{lr_scale:.4g}"
        description = f"{numbers}  rung {on_rung}  incidents {incidents}"
        with self._reader_may_leave():
            self._progress.update(self._task, completed=step + 1, description=description)
            self._progress.refresh()
        self._drawn_at = self._clock.monotonic()

    def __enter__(self) -> ConsoleRenderer:
        if self._console.is_terminal:
            # No refresh thread: one that holds a lock while the data loader forks can hang the child.
            progress = Progress(
                TextColumn("step"),
                MofNCompleteColumn(),
                BarColumn(bar_width=None),
                TextColumn("{task.description}", markup=False),
                TimeRemainingColumn(),
                console=self._console,
                auto_refresh=False,
                expand=True,
            )
            self._task = progress.add_task("starting", total=self._total_steps)
            with self._reader_may_leave():
                progress.start()
                self._progress = progress
        return self

    def __exit__(self, *error: object) -> None:
        for line in self._narrator.rest():
            self._print(line)
        if self._progress is not None:
            with self._reader_may_leave():
                self._progress.refresh()
                self._progress.stop()
            self._progress = None

    def _print(self, line: Line) -> None:
        # Soft wrap: a line stays one line in a file, and a terminal folds it by itself.
        with self._reader_may_leave():
            self._console.print(Text(line.text, style=_STYLES[line.tone]), soft_wrap=True)

    @contextlib.contextmanager
    def _reader_may_leave(self) -> Iterator[None]:
        # A closed terminal is an OSError. At a closed pipe (`... | head`) Rich silences the console and
        # raises SystemExit. The run goes on without either.
        with contextlib.suppress(OSError):
            try:
                yield
            except SystemExit:
                if not self._console.quiet:
                    raise
