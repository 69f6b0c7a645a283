"""Shows a run on the console while it runs: recoveries as lines, progress as a bar or as lines."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn
from rich.text import Text

from supervisor.clock import Clock, SystemClock
from supervisor.errors import said_by
from supervisor.events import schema
from supervisor.events.narration import Line, Narrator, Tone
from supervisor.events.pace import Pace, resident_bytes
from supervisor.events.schema import Event
from supervisor.events.stderr import say
from supervisor.events.step_line import Shown, fitted, numbers_of, step_line

__all__ = ["ConsoleRenderer"]

_REFRESH_SECONDS = 0.1
_STYLES = {Tone.PLAIN: "", Tone.RECOVERY: "yellow", Tone.GOOD: "green", Tone.BAD: "bold red"}
_BAR_COLUMNS = 12


class ConsoleRenderer:
    """A listener of the event log that shows a run to a person.

    On a terminal, and inside `with`, a progress bar stays at the bottom and recoveries are printed above it.
    Elsewhere each `step` event is one plain line. A display that breaks is reported on stderr and left out: it never
    ends the run.

    Args:
        total_steps: where the schedule ends; None where that is not known.
        console: where to print.
        clock: how often the bar is redrawn is counted on it, and how fast the run goes.
    """

    def __init__(self, total_steps: int | None, console: Console, clock: Clock | None = None) -> None:
        self._total_steps = total_steps
        self._console = console
        self._clock = clock or SystemClock()
        self._narrator = Narrator()
        self._pace = Pace(self._clock)
        self._last: Shown | None = None
        self._progress: Progress | None = None
        self._drawn_at = float("-inf")
        self._broken = False

    def __call__(self, event: Event) -> None:
        """Show `event`."""
        for line in self._narrator.tell(event):
            self._print(line)
        if isinstance(event, schema.WorkerExitedEvent) and self._console.is_terminal:
            # One that was killed behind its bar has left the terminal without a cursor.
            self._show(lambda: self._console.show_cursor(True))
        if not isinstance(event, schema.StepEvent):
            return
        shown = Shown(
            step=event.step or 0,
            loss=event.loss,
            grad_norm=event.grad_norm,
            lr=event.lr * event.lr_scale,
            cut=event.lr_scale != 1.0,
            rung=event.rung,
            incidents=event.incidents,
            goodput=None if self._last is None else self._last.goodput,
        )
        if self._progress is not None:
            self._drawn_at = float("-inf")  # due at once
            self._draw(shown)
        else:
            self._look_at_the_process(shown)
            self._print(Line(step_line(shown, self._total_steps), Tone.PLAIN))

    def advance(self, shown: Shown) -> None:
        """Take in a step, after each: cheap, and the bar, where there is one, is redrawn ten times a second at most."""
        self._pace.step()
        self._last = shown
        if self._progress is not None:
            self._draw(shown)

    def __enter__(self) -> ConsoleRenderer:
        if self._console.is_terminal:
            # No refresh thread: one that holds a lock while the data loader forks can hang the child.
            progress = Progress(
                TextColumn("step"),
                MofNCompleteColumn(),
                TaskProgressColumn(),
                BarColumn(bar_width=_BAR_COLUMNS),
                TextColumn("{task.description}", markup=False),
                console=self._console,
                auto_refresh=False,
                expand=True,
            )
            self._task = progress.add_task("starting", total=self._total_steps)
            self._show(progress.start)
            self._progress = progress
        return self

    def __exit__(self, *error: object) -> None:
        for line in self._narrator.rest():
            self._print(line)
        progress, self._progress = self._progress, None
        if progress is not None:
            self._show(progress.refresh)
            self._show(progress.stop)

    def _draw(self, shown: Shown) -> None:
        now = self._clock.monotonic()
        if now - self._drawn_at < _REFRESH_SECONDS:
            return
        self._drawn_at = now
        self._look_at_the_process(shown)
        self._show(lambda: self._redraw(shown))

    def _redraw(self, shown: Shown) -> None:
        if self._progress is None:
            return
        digits = 2 * len(str(self._total_steps or shown.step + 1))
        room = self._console.width - digits - _BAR_COLUMNS - len("step / 100%    ") - 1
        description = fitted(numbers_of(shown, self._total_steps), max(room, 20))
        self._progress.update(self._task, completed=shown.step + 1, description=description)
        self._progress.refresh()

    def _look_at_the_process(self, shown: Shown) -> None:
        shown.steps_a_second, shown.memory = self._pace.steps_a_second, resident_bytes()

    def _print(self, line: Line) -> None:
        # Soft wrap: a line stays one line in a file, and a terminal folds it by itself.
        self._show(lambda: self._console.print(Text(line.text, style=_STYLES[line.tone]), soft_wrap=True))

    def _show(self, show: Callable[[], object]) -> None:
        """Whatever a display raises is nothing to the training: a closed terminal, an object of the trainer's."""
        if self._broken:
            return
        try:
            show()
        except OSError:
            return
        except SystemExit:
            # Rich's answer to a closed pipe (`... | head`): it has silenced the console.
            if not self._console.quiet:
                raise
            self._broken = True
        except Exception as error:  # noqa: BLE001  (as above)
            self._broken = True
            say(f"the display is left out: {said_by(error)}")
