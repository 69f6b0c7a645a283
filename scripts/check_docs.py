"""Whether the commands, flags, files and keys that the pages name exist.

python scripts/check_docs.py [PAGE.md ...]     all pages where none is named; exit 1 where something is wrong

Looked at are README.md, CONTRIBUTING.md and docs/**/*.md. In their blocks: lines that call `supervisor`, `python FILE`,
`make` or `pip install`, by the command line's own parser; YAML, by the models of jobs, policies and faults, whole or in
part; Python, which has to compile and whose imports have to exist; JSON. In their sentences, what stands between
backquotes: the same commands, YAML, calls of a guard, flags, dotted keys of a policy, paths of the repository, files of
a run directory.

A block has one of these comments above it where it needs one:

    <!-- yaml of another program -->
    <!-- file exit 2: bad.yaml -->      the file is meant to be refused
    <!-- printed -->                    text of which a line begins like a command

What a command prints is compared by scripts/run_examples.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from docs_check.commands import Commands  # noqa: E402
from docs_check.names import Names  # noqa: E402
from docs_check.pages import Block, Page  # noqa: E402
from docs_check.python_blocks import wrong_python  # noqa: E402
from docs_check.shell import lines_in  # noqa: E402
from docs_check.yaml_blocks import argument_lists, is_part_of_ours, wrong_yaml  # noqa: E402

SHELL = ("", "bash", "sh", "shell", "console", "text")
PRINTED = "printed"
"""What a comment says of a block that is no command, though a line of it begins like one."""


def pages() -> list[Path]:
    """Every page."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def wrong_in(page: Page, root: Path = ROOT) -> Iterator[str]:
    """What is wrong in a page, one `page:line: ...` each."""
    commands = Commands(root, page.files())
    names = Names(root, commands.flags())
    for block in page.blocks():
        yield from (f"{page.name}:{line}: {said}" for line, said in _wrong_block(block, commands, names))
    for span in page.spans():
        said = [*commands.wrong_line(span.text, whole=False)] if " " in span.text else []
        said += names.wrong(span.text)
        if span.text.startswith(("Guard(", "guard.")) and "…" not in span.text:
            said += (told for _, told in wrong_python(span.text.replace(", ...)", ")")))
        if is_part_of_ours(span.text):
            said += (told for _, told in wrong_yaml(span.text))
        yield from (f"{page.name}:{span.line}: {each}" for each in said)


def _wrong_block(block: Block, commands: Commands, names: Names) -> Iterator[tuple[int, str]]:
    if block.comment.startswith("output"):
        # What it says is compared with what the command prints; the command itself is the comment.
        yield from ((block.line, said) for said in commands.wrong_line(block.comment.partition(": ")[2]))
    elif block.language in SHELL and block.comment != PRINTED:
        for number, line in lines_in(block.text):
            said = dict.fromkeys([*commands.wrong_line(line), *names.wrong_paths(line)])
            yield from ((block.line + number, each) for each in said)
    elif block.language in ("yaml", "yml"):
        yield from wrong_yaml(block.text, comment=block.comment, line=block.line)
        for words in argument_lists(block.text):
            yield from ((block.line, said) for said in commands.wrong(words))
    elif block.language in ("python", "py"):
        yield from wrong_python(block.text, block.line)
    elif block.language in ("json", "jsonl"):
        lines = block.text.splitlines() if block.language == "jsonl" else [block.text]
        yield from ((block.line, f"is no JSON: {said}") for line in lines for said in _wrong_json(line))


def _wrong_json(text: str) -> Iterator[str]:
    try:
        json.loads(text)
    except ValueError as error:
        yield str(error)


def main(arguments: list[str]) -> int:
    """Check some pages, or all."""
    wrong = []
    for path in [Path(each).resolve() for each in arguments] or pages():
        name = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
        wrong += wrong_in(Page(name, path.read_text("utf-8")))
    for said in wrong:
        sys.stderr.write(f"{said}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
