"""How benchmarks say what they ran on, and put their tables into a page of the documentation."""

from __future__ import annotations

import argparse
import platform
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Marks", "machine"]


def machine() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text(encoding="utf-8").splitlines() if info.exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@dataclass(frozen=True)
class Marks:
    """Two lines of a page, between which a benchmark's table stands.

    Attributes:
        begin: the line before the table.
        end: the line behind it.
    """

    begin: str
    end: str

    @classmethod
    def of(cls, what: str) -> Marks:
        """`<!-- what: begin -->` and `<!-- what: end -->`."""
        return cls(f"<!-- {what}: begin -->", f"<!-- {what}: end -->")

    def add_option(self, parser: argparse.ArgumentParser) -> None:
        """Add `--write FILE.md`, for a page that has them."""
        text = f"put the tables between {self.begin} and {self.end} in this page"
        parser.add_argument("--write", type=Path, metavar="FILE.md", help=text)

    def check(self, path: Path | None) -> None:
        """See that a page has them, before hours are spent; None is no page.

        Raises:
            SystemExit: it cannot be read, or lacks a mark.
        """
        if path is not None:
            self._around(path)

    def put(self, path: Path, table: str) -> None:
        """Put a table between them, in place of what stands there.

        Raises:
            SystemExit: as `check`.
        """
        before, after = self._around(path)
        path.write_text(f"{before}{self.begin}\n{table.rstrip()}\n{self.end}{after}", encoding="utf-8")

    def _around(self, path: Path) -> tuple[str, str]:
        try:
            before, begin, rest = path.read_text(encoding="utf-8").partition(self.begin)
        except OSError as error:
            raise SystemExit(f"--write {path}: {error.strerror}") from error
        _, end, after = rest.partition(self.end)
        if not (begin and end):
            raise SystemExit(f"--write {path}: lacks the lines {self.begin} and {self.end}")
        return before, after
