"""`supervisor report`: one page with pictures."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from supervisor.cli.output import print_text, reader_may_leave
from supervisor.display import in_one_line, writable
from supervisor.errors import InputError
from supervisor.events.safe_console import SafeConsole
from supervisor.run_layout import RunLayout, replace_file
from supervisor.streams import tell

__all__ = ["report"]

LONG_LOG = 8 * 2**20
"""From how many bytes of logs on the reading is told of on the way."""

STDOUT = ("-", "/dev/stdout")


def report(
    run_dirs: Annotated[
        list[str],
        typer.Argument(help="The run directory; several of them are compared.", metavar="RUN_DIR", show_default=False),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="Where the page goes; `-` is the standard output. Without it report.html in the first run directory.",
            metavar="FILE.html",
            show_default=False,
        ),
    ] = None,
) -> None:
    """One self-contained page with pictures, of a run that is finished, running or dead. It opens offline.

    It shows the headline figures, the loss and the gradient norm with every incident, the learning rate, the ladder,
    where the time went, each incident with its diagnosis and what to change, checkpoints, processes, job and policy.
    Needs the extra `report`.

      supervisor report runs/mine                       writes runs/mine/report.html

      supervisor report runs/mine -o mine.html          writes it elsewhere

      supervisor report runs/a runs/b -o compared.html  several runs on one page
    """
    from supervisor.page.building import build_page
    from supervisor.page.rendering import require_extra

    require_extra()
    path = RunLayout(Path(run_dirs[0])).report if output is None else Path(output)
    if output not in STDOUT and path.is_dir():
        raise InputError(f"{path}: is a folder: write the name of a file, as -o {path / 'report.html'}")
    with _read(run_dirs) as progress:
        page = writable(build_page(run_dirs, progress=progress))
    if output in STDOUT:
        with reader_may_leave():
            sys.stdout.buffer.write(page.encode())
            sys.stdout.buffer.flush()
        return
    try:
        replace_file(path, page)
    except OSError as error:
        mend = "write -o FILE.html with a file that can be written"
        raise InputError(f"{path}: cannot be written ({error.strerror or error}): {mend}") from None
    with reader_may_leave():
        print_text(f"{in_one_line(str(path))}: {len(page.encode()) / 2**20:.1f} MB")


@contextlib.contextmanager
def _read(run_dirs: list[str]) -> Iterator[Callable[[int], None] | None]:
    """Long logs take some seconds: says on stderr how far they are read; a line where that is no terminal."""
    from rich.progress import BarColumn, Progress, TextColumn

    from supervisor.page.gathering import log_bytes

    size = sum(log_bytes(run_dir) for run_dir in run_dirs)
    if size < LONG_LOG:
        yield None
        return
    said = f"reading {size / 2**20:.0f} MB of events"
    console = SafeConsole(stderr=True, highlight=False)
    if not console.is_terminal:
        tell(f"{said} ...")
        yield None
        return
    with Progress(TextColumn("{task.description}"), BarColumn(), console=console, transient=True) as bar:
        task = bar.add_task(said, total=size)
        yield lambda read: bar.update(task, completed=read)
