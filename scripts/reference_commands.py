"""The page of the commands: what scripts/make_reference.py writes of the command line and its exit codes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer
from reference_text import Undocumented, anchor, member_docs, table

from supervisor.cli.app import app
from supervisor.errors import ExitCode

__all__ = ["command_lines"]


def command_lines() -> Iterator[str]:
    """Every command in one line, then each with its arguments and options, then the exit codes."""
    whole_app = typer.main.get_command(app)
    rows = [
        (f"[{called}](#{anchor(called)})", inspect.cleandoc(command.help or "").split("\n\n")[0])
        for called, command in named_commands(whole_app, "supervisor")
    ]
    yield table(("command", "what it does"), [*sorted(rows), *options_of(whole_app)])
    for called, command in sorted(named_commands(whole_app, "supervisor"), key=lambda each: each[0]):
        yield from lines_of(command, called)
    yield "## Exit codes\n"
    docs = member_docs(ExitCode)
    missing = [each.name for each in ExitCode if each.name not in docs]
    if missing:
        raise Undocumented(f"ExitCode.{missing[0]}: has no docstring: write one below the value")
    yield table(
        ("code", "name", "meaning"), [(f"{each.value}", each.name.lower(), docs[each.name]) for each in ExitCode]
    )


def named_commands(command: Any, called: str) -> Iterator[tuple[str, Any]]:
    """A command, or all of a group, each with what it is called by."""
    inside = getattr(command, "commands", None)
    if not inside:
        yield called, command
    for name, each in (inside or {}).items():
        yield from named_commands(each, f"{called} {name}")


def options_of(command: Any) -> Iterator[tuple[str, str]]:
    """The options of the program itself, one a row."""
    for each in command.params:
        if not getattr(each, "hidden", False) and each.name not in ("help", "install_completion", "show_completion"):
            yield f"`supervisor {each.opts[0]}`", each.help


def lines_of(command: Any, called: str) -> Iterator[str]:
    """One command: how it is called, what it does, its arguments and options."""
    parameters = [each for each in command.params if each.name != "help" and not getattr(each, "hidden", False)]
    arguments = [each for each in parameters if each.param_type_name == "argument"]
    shown = [metavar(each) if each.required else f"[{metavar(each)}]" for each in arguments]
    needed = [each for each in parameters if each not in arguments and each.required]
    written = [f"{each.opts[-1]} {metavar(each)}" for each in needed]
    options = ["[OPTIONS]"] if len(parameters) > len(arguments) + len(needed) else []
    yield f"## {called}\n\n```\n{' '.join([called, *options, *written, *shown])}\n```\n"
    if not command.help:
        raise Undocumented(f"{called}: has no docstring")
    yield inspect.cleandoc(command.help) + "\n"
    rows = []
    for each in parameters:
        if not getattr(each, "help", None):
            raise Undocumented(f"{called}: {each.name}: has no help")
        names = f"`{metavar(each)}`" if each in arguments else ", ".join(f"`{name}`" for name in each.opts)
        takes = "" if each in arguments or getattr(each, "is_flag", False) else f"`{metavar(each)}`"
        plain = each.default in (None, False, ()) or callable(each.default) or "Sentinel" in type(each.default).__name__
        default = "required" if each.required else "" if plain else f"`{each.default}`"
        rows.append((names, takes, default, " ".join(each.help.split())))
    if rows:
        yield table(("", "takes", "default", "meaning"), rows)


def metavar(parameter: Any) -> str:
    """What stands for its value."""
    if parameter.metavar:
        return str(parameter.metavar) + ("..." if parameter.nargs == -1 else "")
    return str(parameter.name).upper()
