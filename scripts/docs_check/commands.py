"""Commands of a page against what they name: the command line's own parser, targets, scripts, extras."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from docs_check.keys import wrong_setting
from docs_check.shell import PLACEHOLDER, commands_in
from supervisor.cli.app import app
from supervisor.events import schema

__all__ = ["Commands"]


class Commands:
    """What is known of commands.

    Args:
        root: folder of the repository.
        files: names of files that the reader has by then.
    """

    def __init__(self, root: Path, files: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        self.root, self.files = root, files
        self.app = typer.main.get_command(app)

    def wrong_line(self, line: str, *, whole: bool = True) -> Iterator[str]:
        """What is wrong with a line.

        Args:
            line: of a shell.
            whole: whether an argument that is asked for has to be there.
        """
        for words in commands_in(line):
            yield from self.wrong(words, whole=whole)

    def wrong(self, words: list[str], *, whole: bool = True) -> Iterator[str]:
        """What is wrong with one command, given as its words."""
        if words[:3] == ["python", "-m", "supervisor"]:
            words = words[2:]
        first, rest = words[0].rpartition("/")[2], words[1:]
        if first == "supervisor" and rest:
            yield from self._wrong_supervisor(rest, whole)
        elif first in ("python", "python3") and rest and rest[0].endswith(".py"):
            yield from self._wrong_script(rest[0], rest[1:])
        elif first == "make":
            yield from self._wrong_targets(rest)
        elif first == "pip":
            yield from self._wrong_extras(rest)

    def flags(self) -> set[str]:
        """Every flag of every command of `supervisor`."""
        found, waiting = {"--help"}, [self.app]
        while waiting:
            command: Any = waiting.pop()
            waiting += getattr(command, "commands", {}).values()
            found.update(flag for each in command.params for flag in (*each.opts, *each.secondary_opts))
        return found

    def _wrong_supervisor(self, words: list[str], whole: bool) -> Iterator[str]:
        command: Any = self.app
        called = "supervisor"
        while commands := getattr(command, "commands", None):
            name, *rest = words or [""]
            if name.startswith("-") or not name:
                break
            several = name.split("/")
            missing = [each for each in several if each not in commands]
            if missing:
                if not PLACEHOLDER.match(name):
                    yield f"{called} {missing[0]}: there is no such command"
                return
            for each in several[1:]:
                yield from self._wrong_supervisor([*called.split()[1:], each, *rest], whole=False)
            command, called, words = commands[several[0]], f"{called} {several[0]}", rest
        yield from self._wrong_arguments(command, called, words, whole)

    def _wrong_arguments(self, command: Any, called: str, words: list[str], whole: bool) -> Iterator[str]:
        context = command.context_class(command, info_name=called)
        context.allow_interspersed_args = True
        try:
            given, more, _ = command.make_parser(context).parse_args(list(words))
        except Exception as error:  # noqa: BLE001 - of whichever click it is that typer brings along
            yield f"{called}: {_words_of(error)}"
            return
        if more and not getattr(command, "commands", None):
            yield f"{called}: {more[0]}: one argument too many"
        for each in command.params:
            value = given.get(each.name)
            if value is None or value == ():
                if each.required and whole:
                    yield f"{called}: {each.name}: is missing"
                continue
            if each.nargs != 1:
                yield from (f"{called}: {said}" for said in _wrong_value(each, value, context))
                continue
            for one in value if isinstance(value, list | tuple) else [value]:
                yield from (f"{called}: {said}" for said in _wrong_value(each, one, context))

    def _wrong_script(self, name: str, words: list[str]) -> Iterator[str]:
        path = self.root / name
        if name in self.files:
            return
        if not path.is_file():
            yield f"{name}: there is no such file"
            return
        # Options may be added by what lies beside the script.
        text = "".join(each.read_text("utf-8") for each in path.parent.glob("*.py"))
        for word in words:
            flag = word.partition("=")[0]
            if flag.startswith("--") and f'"{flag}"' not in text:
                yield f"{name}: {flag}: there is no such option"

    def _wrong_targets(self, words: list[str]) -> Iterator[str]:
        targets = set(re.findall(r"^(\w+):", (self.root / "Makefile").read_text("utf-8"), re.MULTILINE))
        for word in words:
            if not (word in targets or "=" in word or PLACEHOLDER.match(word) or word.startswith("-")):
                yield f"make {word}: there is no such target"

    def _wrong_extras(self, words: list[str]) -> Iterator[str]:
        project = tomllib.loads((self.root / "pyproject.toml").read_text("utf-8"))["project"]
        for word in words:
            asked = re.fullmatch(rf"(?:\.|{project['name']})\[([\w,-]+)\]", word)
            for extra in asked[1].split(",") if asked else ():
                if extra not in project["optional-dependencies"]:
                    yield f"pip {word}: there is no extra {extra}"


def _words_of(error: Exception) -> str:
    words = getattr(error, "format_message", None)
    return str(words() if words else error)


def _wrong_value(parameter: Any, value: Any, context: Any) -> Iterator[str]:
    if not isinstance(value, str) or PLACEHOLDER.match(value):
        return
    try:
        parameter.process_value(context, [value] if getattr(parameter, "multiple", False) else value)
    except Exception as error:  # noqa: BLE001 - likewise
        yield f"{value}: {_words_of(error)}"
        return
    if parameter.name == "event" and (mend := schema.no_such_event(value)) is not None:
        yield f"--event {value}: there is no event of this name: {mend}"
    elif "--set" in parameter.opts:
        yield from wrong_setting(value)
