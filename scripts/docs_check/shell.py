"""A line of a shell as the commands that are in it, each as its words."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

__all__ = ["PLACEHOLDER", "commands_in", "lines_in"]

PLACEHOLDER = re.compile(r"[A-Z][A-Z_0-9]*(\.\w+)?$|.*…|\$")
"""Stands for a word of the reader's: `RUN_DIR`, `JOB.yaml`, `…`, `$RUN`."""

_BEFORE = {"nohup", "exec", "time", "srun", "sudo", "$", "-", "then", "do", "if", "!"}
_ASSIGNMENT = re.compile(r"\w+=")


def lines_in(block: str) -> Iterator[tuple[int, str]]:
    """The lines of a block, from 0; one that ends in a backslash goes on."""
    start, whole = 0, ""
    for number, line in enumerate(block.splitlines()):
        if not whole:
            start = number
        whole = f"{whole} {line.strip()}" if whole else line
        if whole.endswith("\\"):
            whole = whole[:-1].rstrip()
        else:
            yield start, whole
            whole = ""


def commands_in(line: str) -> Iterator[list[str]]:
    """The commands of a line.

    What follows two blanks behind a command, as in a list of commands, is an explanation. Brackets around what may be
    left out are dropped, and `a|b` without blanks is one word.
    """
    line = line.strip().removeprefix("$ ")
    line = re.split(r" {2,}(?=\S)", line)[0] if re.match(r"(supervisor|python|make) ", line) else line
    if "'" not in line and '"' not in line and re.search(r"\s\[[-\w]", line):
        line = re.sub(r"(?<=\s)\[(?=[-\w])|(?<=\S)\](\.\.\.|…)?(?=\s|$)", " ", line)
    line = re.sub(r"(?<=[^\s|])\|(?=[^\s|])", "/", line)
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:
        return
    yield from filter(None, map(_without_what_is_before, _split(words)))


def _split(words: list[str]) -> Iterator[list[str]]:
    """At the operators; redirections are left out."""
    command: list[str] = []
    words = list(words)
    while words:
        word = words.pop(0)
        if not set(word) <= set("();<>|&"):
            command.append(word)
        elif set(word) & set("<>"):
            if command and command[-1].isdigit():
                command.pop()
            del words[:1]
        else:
            yield command
            command = []
    yield command


def _without_what_is_before(words: list[str]) -> list[str]:
    place = 0
    while place < len(words) and (words[place] in _BEFORE or _ASSIGNMENT.match(words[place])):
        place += 1
    return [word for word in words[place:] if word not in ("...", "OPTIONS")]
