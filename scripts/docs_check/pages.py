"""A page in parts: its fenced blocks, each with the comment above it, and the code within its sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Block", "Page", "Span"]

_FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>```+)(?P<language>[\w-]*)[^\n]*\n(?P<body>.*?)^(?P=indent)(?P=fence) *$",
    re.MULTILINE | re.DOTALL,
)
_COMMENT = re.compile(r"<!-- (?P<text>(?:(?!-->).)+?) -->\s*\Z", re.DOTALL)
_SPAN = re.compile(r"(?<!`)(`+)(?!`)(?P<code>(?:(?!\n\n).)+?)(?<!`)\1(?!`)", re.DOTALL)
_INDENTED = re.compile(r"(?:(?<=\n\n)|\A)(?P<body>(?: {4}\S[^\n]*\n(?:\n(?= {4}))?)+)")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: what stands behind the fence; "" where nothing does.
        text: what is in it, without the indentation of the fence.
        comment: what the comment right above it says; "" where there is none.
        line: of its first line in the page, from 1.
    """

    language: str
    text: str
    comment: str
    line: int


@dataclass(frozen=True)
class Span:
    """Code within a sentence, in one line.

    Attributes:
        text: what stands between the backquotes.
        line: of its beginning in the page, from 1.
    """

    text: str
    line: int


@dataclass(frozen=True)
class Page:
    """One page of Markdown.

    Attributes:
        name: what it is called in a message.
        text: all of it.
    """

    name: str
    text: str

    def blocks(self) -> Iterator[Block]:
        """Every fenced block, and every block that is indented by four columns."""
        for match in _FENCE.finditer(self.text):
            above = _COMMENT.search(self.text[: match.start()])
            body = re.sub(rf"^{match['indent']}", "", match["body"], flags=re.MULTILINE)
            comment = above["text"] if above else ""
            yield Block(match["language"], body, comment, self._line(match.start("body")))
        for match in _INDENTED.finditer(self._without_blocks()):
            yield Block("", re.sub(r"^ {4}", "", match["body"], flags=re.MULTILINE), "", self._line(match.start()))

    def spans(self) -> Iterator[Span]:
        """Every piece of code in the sentences, comments left out."""
        for match in _SPAN.finditer(self._without_blocks()):
            yield Span(" ".join(match["code"].split()), self._line(match.start()))

    def files(self) -> set[str]:
        """The names of the files that stand on the page, by their comments."""
        named = (re.match(r"file(?: slow)?(?: exit \d+)?: (.+)", block.comment) for block in self.blocks())
        return {match[1].strip() for match in named if match}

    def _without_blocks(self) -> str:
        """The page, with blanks in the place of its fenced blocks and comments, so that places stay."""

        def blank(match: re.Match[str]) -> str:
            return re.sub(r"[^\n]", " ", match[0])

        return re.sub(r"<!--.*?-->", blank, _FENCE.sub(blank, self.text), flags=re.DOTALL)

    def _line(self, place: int) -> int:
        return self.text.count("\n", 0, place) + 1
