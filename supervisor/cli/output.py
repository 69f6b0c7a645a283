"""Where a command's output goes, clean and cut, and what becomes of it when nobody reads on."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import typer
from rich.console import Console

from supervisor.display import fitting, json_for_terminals, visible
from supervisor.events.safe_console import SafeConsole

__all__ = ["console_for_tables", "output_on_stderr", "print_json", "print_text", "reader_may_leave"]

TABLE_WIDTH = 120
"""Least width of a table in a pipe, which has none of its own: it breaks no words then."""


def print_text(text: str) -> None:
    """Print lines: a control character in them, which a terminal would obey, is printed as an escape."""
    typer.echo(fitting(visible(text), getattr(sys.stdout, "encoding", None)))


def print_json(text: str) -> None:
    """Print JSON, which keeps its meaning: what a terminal would obey stands as an escape of JSON in it."""
    typer.echo(fitting(json_for_terminals(text), getattr(sys.stdout, "encoding", None)))


def console_for_tables() -> Console:
    """A console for tables, which have a width of their own in a pipe."""
    console = SafeConsole(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, TABLE_WIDTH)
    return console


@contextlib.contextmanager
def reader_may_leave() -> Iterator[None]:
    """A reader that has seen enough (`| head`) ends the block, and is no failure."""
    try:
        yield
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # Rich answers a closed pipe with SystemExit
        # Else the interpreter complains again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def output_on_stderr() -> Iterator[None]:
    """What this process and those that it starts print goes to stderr: stdout is left to what a machine reads."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
