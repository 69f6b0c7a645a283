"""Paths of the repository, files of a run directory, flags and keys that a page names in its sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from docs_check.keys import wrong_key
from docs_check.shell import PLACEHOLDER
from supervisor.policy import RecoveryPolicy

__all__ = ["Names"]

_REPOSITORY = re.compile(r"(?:configs|examples|benchmarks|scripts|tests|docs|supervisor|energy_flow)/[\w./*{},-]*")
_OF_A_RUN = re.compile(r"(?:RUN_DIR|runs/\w+)/(?P<file>[\w./-]+\.\w+)")
_FLAG = re.compile(r"--[a-z][a-z-]+")
_KEY = re.compile(r"(?P<first>[a-z_]+)(?:\.[a-z_]+)+")
_FILES = (".py", ".yaml", ".md", ".json", ".jsonl", ".pt", ".txt")


class Names:
    """What a page may name.

    Args:
        root: folder of the repository.
        flags: of the command line.
    """

    def __init__(self, root: Path, flags: set[str]) -> None:
        self.root, self.flags = root, flags

    def wrong(self, code: str) -> Iterator[str]:
        """What is wrong with a piece of code in a sentence."""
        yield from self.wrong_paths(code)
        if _FLAG.fullmatch(code) and code not in self.flags | self._flags_of_scripts():
            yield f"{code}: no command has such a flag"
        if (key := _KEY.fullmatch(code)) and key["first"] in RecoveryPolicy.model_fields and not code.endswith(_FILES):
            yield from wrong_key(code)

    def wrong_paths(self, code: str) -> Iterator[str]:
        """Which paths in some code are not there."""
        for word in re.split(r"[\s=:'\"`()\[\]]+", code):
            if _REPOSITORY.fullmatch(word) and not any(self.root.glob(word.rstrip("/.,"))):
                yield f"{word}: there is no such file"
            of_a_run = _OF_A_RUN.fullmatch(word)
            if of_a_run and not self._is_written(of_a_run["file"]):
                yield f"{word}: no run writes such a file"

    def _is_written(self, path: str) -> bool:
        """Whether the sources have the path or its name as a text; a name in capitals stands for others."""
        name = path.rpartition("/")[2]
        return bool(PLACEHOLDER.match(name)) or any(f'"{each}"' in self._sources() for each in (path, name))

    @cache  # noqa: B019 - one of them lives as long as the check
    def _sources(self) -> str:
        return "".join(each.read_text("utf-8") for each in sorted((self.root / "supervisor").rglob("*.py")))

    @cache  # noqa: B019 - likewise
    def _flags_of_scripts(self) -> set[str]:
        paths = [*(self.root / "scripts").rglob("*.py"), *(self.root / "benchmarks").rglob("*.py")]
        texts = (each.read_text("utf-8") for each in paths)
        return {flag for text in texts for flag in re.findall(r'"(--[a-z][a-z-]+)"', text)}
