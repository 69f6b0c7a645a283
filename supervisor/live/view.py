"""The live view of one run on one terminal, looked after by whoever calls it again and again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from rich.text import Text

from supervisor.clock import Clock
from supervisor.events.narration import Line, Narrator, Tone
from supervisor.live.drawing import STYLES, draw
from supervisor.live.fold import RECENT
from supervisor.live.glyphs import glyphs_for
from supervisor.live.log import FoldedLog, LiveLog
from supervisor.live.picture import Picture
from supervisor.live.screen import Screen, view_fits
from supervisor.live.signs import SignsReader
from supervisor.report.run_status import RunState
from supervisor.run_layout import RunLayout

__all__ = ["LiveView"]

HISTORY = 10
"""So many lines of what has been before are printed at first."""

ROWS_FOR_A_GAP = 16
"""On a terminal of so many rows, an empty one stands above the view."""

_LONG_AGO = -1_000_000

_GOES_ON = (RunState.RUNNING, RunState.STALLED, RunState.UNKNOWN)


class LiveView:
    """Reads on in a run directory, prints what a person is told of the run, and draws its view below.

    Args:
        layout: of the run directory.
        name: what the run is called.
        screen: where it is drawn; its encoding says with which signs.
        encoding: of the terminal.
        clock: says what time it is.
        stopping: whether the run was asked to stop.

    Attributes:
        screen: where the rows of the view belong.
    """

    def __init__(
        self,
        layout: RunLayout,
        name: str,
        screen: Screen,
        encoding: str,
        clock: Clock,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._name = name
        self.screen = screen
        self._glyphs = glyphs_for(encoding)
        self._stopping = stopping
        self._folded = FoldedLog(layout)
        self._signs = SignsReader(layout, clock)
        # Read by itself: what was told stays told, whatever a resume makes of it.
        self._story = LiveLog(layout)
        self._narrator = Narrator()
        # After how many printed rows each of the newest lines came.
        self._told_at: deque[int] = deque(maxlen=RECENT)
        self._over = False
        self._going_on = True

    @property
    def goes_on(self) -> bool:
        """Whether the run went on at the last look."""
        return self._going_on

    @property
    def folded(self) -> FoldedLog:
        """The log as it was at the last look."""
        return self._folded

    def history(self) -> list[str]:
        """The last lines of what has been so far, for somebody who looks at a run that goes on already.

        Raises:
            InputError: as `look`.
        """
        lines = self._new_lines()
        left_out = len(lines) - HISTORY
        before = [f"({left_out} earlier lines: supervisor watch {self._name} | less)"] if left_out > 0 else []
        return before + self._printed(lines[-HISTORY:])

    def pass_over(self) -> None:
        """What is in the log already was told to somebody before.

        Raises:
            InputError: as `look`.
        """
        self._told_at.extend(_LONG_AGO for line in self._new_lines() if line.tone is not Tone.PLAIN)

    def end(self) -> None:
        """Whoever runs it says that it is over: the next look is the last one."""
        self._over = True

    def look(self) -> tuple[list[str], Picture]:
        """What was written since the last time, as lines to print, and the picture now.

        Raises:
            InputError: the log cannot be read, or is damaged before its end.
        """
        lines = self._printed(self._new_lines())
        self._folded.read_on()
        fold = self._folded.fold
        ranks = max(1, self._folded.files - 1)
        signs = self._signs.read(fold.status(), fold.worker, ranks)
        signs = replace(signs, stopping=self._stopping(), over=self._over)
        self._going_on = signs.state in _GOES_ON
        return lines, fold.picture(signs)

    def rows(self, picture: Picture | None, unfinished: str = "") -> list[Text]:
        """The view in the rows that the terminal has for it now; none while a shell has it for another job.

        Args:
            picture: what is shown; None: nothing.
            unfinished: a line of output that has not ended; it stands above the view.
        """
        if self.screen.in_background:
            return []
        columns, rows = self.screen.size
        height = view_fits(rows)
        # A line stays in sight until as many rows were printed after it as there are above the view.
        above = rows - 1 - min(height, 8)
        unseen = sum(self.screen.rows_printed - at > above for at in self._told_at)
        view: list[Text] = []
        if picture is not None:
            view = draw(picture, self._name, columns - 1, height, glyphs=self._glyphs, unseen=unseen)
            if rows >= ROWS_FOR_A_GAP:
                view.insert(0, Text())
        if unfinished.strip() and len(view) < rows - 1:
            view.insert(0, _cut(Text.from_ansi(unfinished), columns - 1))
        return view

    def _new_lines(self) -> list[Line]:
        told: list[Line] = []
        for event, void in self._story.read_on():
            if not void and not event.rank:
                told += self._narrator.tell(event)
        return told

    def _printed(self, lines: Sequence[Line]) -> list[str]:
        at = self.screen.rows_printed
        self._told_at.extend(at for line in lines if line.tone is not Tone.PLAIN)
        return [self.screen.styled(Text(line.text, STYLES[line.tone])) for line in lines]


def _cut(row: Text, columns: int) -> Text:
    row.truncate(max(columns, 0))
    return row
