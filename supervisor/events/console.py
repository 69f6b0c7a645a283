"""Tells a run on the console while it runs: recoveries and progress as lines."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.text import Text

from supervisor.clock import Clock, SystemClock
from supervisor.errors import said_by
from supervisor.events import schema
from supervisor.events.narration import Line, Narrator, Tone
from supervisor.events.pace import Pace, resident_bytes
from supervisor.events.schema import Event
from supervisor.events.stderr import say
from supervisor.events.step_line import Shown, step_line

__all__ = ["ConsoleRenderer"]

_STYLES = {Tone.PLAIN: "", Tone.RECOVERY: "yellow", Tone.GOOD: "green", Tone.BAD: "bold red"}


class ConsoleRenderer:
    """A listener of the event log that tells a run to a person, where `live/` shows no view of it.

    Each `step` event is one plain line, and so is each incident. A console that breaks is reported on stderr and left
    out: it never ends the run.

    Args:
        total_steps: where the schedule ends; None where that is not known.
        console: where to print.
        clock: how fast the run goes is measured on it.
    """

    def __init__(self, total_steps: int | None, console: Console, clock: Clock | None = None) -> None:
        self._total_steps = total_steps
        self._console = console
        self._narrator = Narrator()
        self._pace = Pace(clock or SystemClock())
        self._goodput: float | None = None
        self._broken = False

    def __call__(self, event: Event) -> None:
        """Show `event`."""
        for line in self._narrator.tell(event):
            self._print(line)
        if not isinstance(event, schema.StepEvent):
            return
        rate, memory = self._pace.steps_a_second, resident_bytes()
        shown = Shown.of(event, goodput=self._goodput, steps_a_second=rate, memory=memory)
        self._print(Line(step_line(shown, self._total_steps), Tone.PLAIN))

    def advance(self, goodput: float | None) -> None:
        """Take in a step, after each: cheap.

        Args:
            goodput: useful time over wall time so far, None where it is not known.
        """
        self._pace.step()
        self._goodput = goodput

    def __enter__(self) -> ConsoleRenderer:
        return self

    def __exit__(self, *error: object) -> None:
        for line in self._narrator.rest():
            self._print(line)

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
