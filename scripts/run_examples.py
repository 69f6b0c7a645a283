"""Run the examples of the documentation, and compare what they print with what the pages say.

python scripts/run_examples.py [PAGE.md ...]            the quick ones; exit 1 where a page is wrong
python scripts/run_examples.py --slow [PAGE.md ...]     all of them
python scripts/run_examples.py --update [--slow] [...]  write what they print now into the pages

A page says it in a comment before a fenced block:

    <!-- file: mine.py -->                the block is this file
    <!-- output: supervisor status RUN -->  the block is what the command prints, both streams
    <!-- output slow: ... -->             likewise, and it takes its time
    <!-- output exit 3: ... -->           likewise, and it ends in that code (0 where none is given)
    <!-- before: supervisor run ... -->   a comment alone: run before the next output, its own is not shown;
                                          `before slow`, `before exit 3` as above

The first line of an output may be the command behind a `$`, for who reads the page; it is then that of the comment.

All files of a page are written first; then its commands run in order, in one fresh folder that sees `configs/` and
`examples/`. A line of `…` alone stands for any number of lines (`--update` writes them all), and one that ends in `…`
was cut off. Times, names of runs, process numbers and fractions differ from one run or machine to the next: they are
not compared.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ELLIPSIS = "…"

_MARK = re.compile(
    r"^<!-- (?P<kind>file|output|before)(?P<slow> slow)?(?: exit (?P<code>\d+))?: (?P<what>.+?) -->\n"
    r"(?:(?P<fence>```+)\w*\n(?P<body>.*?)^(?P=fence)$)?",
    re.MULTILINE | re.DOTALL,
)

_DIFFERS = (
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( UTC|Z|\+00:00)?", "TIME"),
    # The pace of a run and the memory of its worker.
    (r"[\d.]+ (steps/s|[KMG]B)\b", r"# \1"),
    (r"  (?:\d+ (?:d|h|min|s) ?)+left\b", ""),
    # How the time was spent, largest share first, folded where the line is full.
    (r"(?m)^wall time .*(?:\n .*)*", "wall time"),
    (r"(?m)^ *\d[\d. a-z]*: (?:start-up|training|other|down|wasted|checkpoints|recovery) [\d.]+%.*$", "wall time"),
    (r"\b\d\d:\d\d:\d\d(\.\d+)?\b", "TIME"),
    (r"\b[0-9a-f]{12}\b", "NAME"),
    (r"\b(process|pid|PID|worker)( |=)\d+", r"\1\2N"),
    (r"\b\d+ (?:min|h|d)(?: \d+ (?:s|min|h))?\b", "# s"),
    (r"[-+]?\d+\.\d+(?:e[-+]?\d+)?|\b\d+e[-+]?\d+", "#"),
    (r"\b\d+ s\b", "# s"),
    (r"(?:#|\b\d+) ?%", "# %"),
    (r"#(?: (?:ms|s)\b)", "# s"),
    (r"[━─╸╺ \t]{2,}", " "),
)


@dataclass(frozen=True)
class Example:
    """One marked block of a page.

    Attributes:
        kind: `file`, `output` or `before`.
        what: the name of the file, or the command.
        slow: whether it takes its time.
        code: what the command ends in.
        body: what the page says, without the fences and the line of the command; None where no block follows.
        start: where the body stands in the page.
        line: of the comment, from 1.
    """

    kind: str
    what: str
    slow: bool
    code: int
    body: str | None
    start: int
    line: int


class WrongPage(Exception):
    """What a page says is not what happens."""


def examples_in(text: str, page: str) -> list[Example]:
    """The examples of a page, in order.

    Raises:
        WrongPage: a comment is not followed by the block that it is about.
    """
    found = []
    for match in _MARK.finditer(text):
        body, line = match["body"], text.count("\n", 0, match.start()) + 1
        if body is None and match["kind"] != "before":
            raise WrongPage(f"{page}:{line}: no fenced block follows the comment")
        if match["kind"] == "before":
            body = None
        start = -1 if body is None else match.start("body")
        if body is not None and match["kind"] == "output" and body.startswith("$ "):
            shown, _, body = body.partition("\n")
            start += len(shown) + 1
            if shown != f"$ {match['what']}":
                raise WrongPage(f"{page}:{line}: the block shows another command than the comment: {shown}")
        slow, code = match["slow"] is not None, int(match["code"] or 0)
        found.append(Example(match["kind"], match["what"], slow, code, body, start, line))
    return found


def normalised(text: str, folder: str = "") -> list[str]:
    """The lines of an output without what differs from one run to the next."""
    text = text.replace(folder, "") if folder else text
    for pattern, instead in _DIFFERS:
        text = re.sub(pattern, instead, text)
    # A step on a busy machine may be called slow.
    return [line.strip() for line in text.strip().splitlines() if "slow step:" not in line]


def agree(said: list[str], printed: list[str]) -> bool:
    """Whether two outputs are the same; a line of `…` in the first stands for any number of lines."""
    if ELLIPSIS not in said:
        return len(said) == len(printed) and all(map(_same, said, printed))
    cut = said.index(ELLIPSIS)
    if len(printed) < cut or not all(map(_same, said[:cut], printed)):
        return False
    rest = said[cut + 1 :]
    return any(agree(rest, printed[at:]) for at in range(cut, len(printed) + 1))


def _same(said: str, printed: str) -> bool:
    """Whether two lines are; one that was cut off is cut elsewhere where its fractions have more digits."""
    if said.endswith(ELLIPSIS) and printed.endswith(ELLIPSIS):
        common = max(0, min(len(said), len(printed)) - 20)
        return said[:common] == printed[:common]
    return said == printed


class Folder:
    """Where the examples of one page run.

    Args:
        path: a fresh folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("configs", "examples"):
            (path / name).symlink_to(ROOT / name)
        tools = path / ".bin"
        tools.mkdir()
        for name, command in (("supervisor", "-m supervisor"), ("python", "")):
            (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
            (tools / name).chmod(0o755)
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        self._environment = {
            **os.environ,
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": paths,
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "120",
            "NO_COLOR": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def run(self, command: str) -> tuple[int, str]:
        """The exit code of a shell command, and what it printed on both streams."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.path,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout


def wrong_in(page: Path, *, slow: bool = False, update: bool = False) -> Iterator[str]:
    """What a page says that is not so; with `update` it is written anew instead."""
    text = page.read_text(encoding="utf-8")
    examples = [each for each in examples_in(text, page.name) if slow or not each.slow]
    fresh: list[tuple[Example, str]] = []
    with tempfile.TemporaryDirectory(prefix="examples-") as where:
        folder = Folder(Path(where).resolve())
        # A program may stand at the end of its page.
        for each in (each for each in examples if each.kind == "file"):
            (folder.path / each.what).parent.mkdir(parents=True, exist_ok=True)
            (folder.path / each.what).write_text(each.body or "", encoding="utf-8")
        for each in (each for each in examples if each.kind != "file"):
            code, printed = folder.run(each.what)
            printed = printed.replace(f"{folder.path}/", "")
            place = f"{page.name}:{each.line}: {each.what}"
            if code != each.code:
                yield f"{place}: ended in {code}, not in {each.code}:\n{printed}"
            elif each.kind == "output" and not agree(normalised(each.body or ""), normalised(printed)):
                if update:
                    fresh.append((each, "\n".join(line.rstrip() for line in printed.rstrip().splitlines()) + "\n"))
                else:
                    said = "\n".join(normalised(each.body or ""))
                    yield f"{place}: prints\n{printed}\nwhere the page says\n{said}"
    for each, printed in reversed(fresh):
        body = each.body or ""
        text = text[: each.start] + printed + text[each.start + len(body) :]
    if fresh:
        page.write_text(text, encoding="utf-8")


def pages() -> list[Path]:
    """The pages that have examples."""
    return [page for page in sorted((ROOT / "docs").rglob("*.md")) if examples_in(page.read_text("utf-8"), page.name)]


def main(arguments: Iterable[str]) -> int:
    """Run the examples of some pages, or of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--update", action="store_true")
    given = parser.parse_args([*arguments])
    wrong = [said for page in given.pages or pages() for said in wrong_in(page, slow=given.slow, update=given.update)]
    for said in wrong:
        sys.stderr.write(f"{said}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
