"""Draw a run as its live view showed it at the end, with the lines above it, as an SVG.

python scripts/picture.py RUN_DIR [--command "make demo"] -o docs/images/recovery.svg

The run is a real one; its name in the picture is the last part of RUN_DIR, or what --name says. It is readable on a
dark and on a light page, since the terminal brings its own background, and loads nothing from elsewhere.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from rich.console import Console  # noqa: E402
from rich.terminal_theme import TerminalTheme  # noqa: E402
from rich.text import Text  # noqa: E402

from supervisor.clock import SystemClock  # noqa: E402
from supervisor.events.narration import Narrator  # noqa: E402
from supervisor.events.reader import read_events  # noqa: E402
from supervisor.live.drawing import STYLES, draw  # noqa: E402
from supervisor.live.log import FoldedLog  # noqa: E402
from supervisor.live.signs import SignsReader  # noqa: E402
from supervisor.run_layout import RunLayout, replace_file  # noqa: E402

COLUMNS = 108
"""At a width of 900 pixels a character is as wide as in a page's own text."""

FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace"

THEME = TerminalTheme(
    (22, 27, 34),
    (230, 237, 243),
    [
        (72, 79, 88),
        (255, 123, 114),
        (63, 185, 80),
        (229, 181, 88),
        (88, 166, 255),
        (188, 140, 255),
        (86, 200, 216),
        (177, 186, 196),
    ],
)
"""Light text on dark, with a contrast of 4.5 or more for each colour that the view has."""


def rows_of(run_dir: Path, name: str, command: str | None) -> list[Text]:
    """What a person saw at the end of a run.

    Args:
        run_dir: the run directory.
        name: what it is called in the picture.
        command: what it was started with, shown as the first line; None shows none.
    """
    layout, narrator = RunLayout(run_dir), Narrator()
    folded = FoldedLog(layout)
    folded.read_on()
    fold = folded.fold
    picture = fold.picture(SignsReader(layout, SystemClock()).read(fold.status(), None, max(1, folded.files - 1)))
    lines = [line for event in read_events(run_dir) if not event.rank for line in narrator.tell(event)]
    told = [Text(line.text, STYLES[line.tone]) for line in lines]
    prompt = [] if command is None else [Text.assemble(("$ ", "dim"), (command, "bold"))]
    view = draw(picture, name, COLUMNS, 20)
    return [*prompt, *told, Text(), *view]


def svg_of(rows: Sequence[Text], title: str) -> str:
    """The rows as an SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for row in rows:
        row.truncate(COLUMNS, overflow="ellipsis")
        console.print(row, soft_wrap=True)
    svg = console.export_svg(title=title, theme=THEME)
    # A page that shows it is not to ask a font server for anything.
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code, monospace", FONTS)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.svg")
    parser.add_argument("--name", help="what the run is called; without it the last part of RUN_DIR")
    parser.add_argument("--command", help="what it was started with, as the first line")
    given = parser.parse_args(arguments)
    name = given.name or given.run_dir.name
    replace_file(given.output, svg_of(rows_of(given.run_dir, name, given.command), f"supervisor run: {name}"))


if __name__ == "__main__":
    main()
