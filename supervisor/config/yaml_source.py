"""Reading the user's YAML files: every mistake is reported with its line and its fix."""

from __future__ import annotations

import difflib
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from supervisor.config.origins import Origins
from supervisor.config.yaml_values import MAX_DEPTH, Document, Yaml12Loader, document_of, lines_of
from supervisor.errors import InputError

__all__ = ["MAX_BYTES", "Document", "parse_yaml", "read_text", "read_yaml"]

MAX_BYTES = 256 * 1024
MOST_NEIGHBOURS = 50
"""How many files of a folder are looked into for what to write instead of one that is not there."""

Fits = Callable[[Document], bool]
"""Whether a document is of the kind that was asked for."""


def read_text(name: str, kind: str, path: Path | None = None, fits: Fits | None = None) -> str:
    """The text of a file.

    Args:
        name: the file as the user typed it.
        kind: what it should be, for the message: `policy` or `job`.
        path: where it is, when not at `name`.
        fits: whether a file beside it is of this kind, for what to write instead of one that is not there; None: all.

    Raises:
        InputError: there is no such file, or it is a folder, too large, unreadable or not UTF-8.
    """
    if not name.strip():
        raise InputError(f"the {kind} file has no name: write its path")
    path = Path(name) if path is None else path
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InputError(f"{name}: no such file: {_nearest_file(name, path, kind, fits)}") from None
    except IsADirectoryError:
        raise InputError(f"{name}: is a folder: write the path of a {kind} file in it") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"{name}: cannot be read ({reason}): write the path of a {kind} file") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"{name}: is larger than {MAX_BYTES // 1024} KiB: write the path of a {kind} file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{name}:{line}: is not UTF-8 text: save the file as UTF-8") from None


def read_yaml(name: str, kind: str, path: Path | None = None, *, fits: Fits | None = None) -> Document:
    """Read a file; see `read_text` for the arguments and the errors, and `parse_yaml` for more of them."""
    return parse_yaml(read_text(name, kind, path, fits), name)


def parse_yaml(text: str, name: str, *, lines: bool = True) -> Document:
    """Read YAML text.

    Args:
        text: one document.
        name: what messages call it.
        lines: whether messages name lines; False for the value of a flag.

    Raises:
        InputError: it is not YAML at all. Lesser mistakes are in the document's `problems`.
    """

    def fail(position: int | None, what: str, fix: str) -> InputError:
        line = "" if position is None or line_of is None else f":{line_of(position)}"
        return InputError(f"{name}{line}: {what}: {fix}")

    line_of = lines_of(text) if lines else None
    loader = None
    try:
        loader = Yaml12Loader(io.StringIO(text))
        node = loader.get_single_node()
    except yaml.reader.ReaderError as error:
        what = f"holds the control character {_escaped(error.character)}"
        raise fail(error.position, what, "remove it") from None
    except yaml.MarkedYAMLError as error:
        raise fail(*_syntax(error, loader.scalars if loader else [], text)) from None
    except RecursionError:
        raise fail(None, "is nested too deeply", f"write at most {MAX_DEPTH} levels") from None
    except (yaml.YAMLError, ValueError) as error:
        raise fail(None, f"is not YAML ({error})", "correct the syntax") from None
    if node is None:
        return Document(None, Origins(name, {(): 1} if lines else {}))
    return document_of(node, name, line_of)


def _escaped(character: int | str) -> str:
    return ascii(chr(character) if isinstance(character, int) else character).strip("'")


_NO_COLON = ("has a key without a `:`", "write `key: value`")
_OPEN_QUOTE = ("opens a quote that is never closed", "close the quote")
_SYNTAX = (
    ("'\\t'", "holds a tab", "indent with spaces"),
    ("mapping values are not allowed", "has a `:` where none can be", "indent as above, or put text in quotes"),
    ("expected <block end>", "is not indented as the lines above", "start keys of one group in the same column"),
    ("another document", "starts a second document", "keep one and remove the `---` between them"),
    ("undefined alias", "names an anchor that is not there", "write `&name` at the value first"),
    ("second occurrence", "defines an anchor twice", "keep one of the two"),
)


def _syntax(error: yaml.MarkedYAMLError, scalars: Sequence[yaml.ScalarToken], text: str) -> tuple[int | None, str, str]:
    """The position, what is wrong and the fix for what the YAML parser found.

    PyYAML names the place where it could not go on, which can be lines after the mistake.

    Args:
        error: what PyYAML raised.
        scalars: the words it had read by then.
        text: the document.
    """
    problem, mark, opened = str(error.problem), error.problem_mark, error.context_mark
    position = mark.index if mark else None
    if error.context and opened:
        if "flow" in error.context:
            return opened.index, "opens a `[` or `{` that does not end well", "close it, commas between the items"
        if "quoted scalar" in error.context and "end of stream" in problem:
            return opened.index, *_OPEN_QUOTE
        if "could not find expected ':'" in problem:
            return opened.index, *_NO_COLON
    for word in reversed(scalars):
        start = word.start_mark
        if mark is None or start.line >= mark.line or word.end_mark.line < mark.line:
            continue  # only a word that ends on the line of the error can have swallowed what comes before it
        before = text[start.index - start.column : start.index]
        if word.plain and "mapping values" in problem and not before.strip(" -"):
            return start.index, *_NO_COLON
        if not word.plain and "<block end>" in problem and ": " in word.value:
            return start.index, *_OPEN_QUOTE
    for sign, what, fix in _SYNTAX:
        if sign in problem:
            return position, what, fix
    return position, f"is not YAML ({problem})", "correct the syntax, or put text in quotes"


def _nearest_file(name: str, path: Path, kind: str, fits: Fits | None) -> str:
    """What to write instead of a file that does not exist."""
    try:
        there = sorted(entry for entry in path.parent.iterdir() if entry.suffix in {".yaml", ".yml"})
    except OSError:
        return f"write the path of a {kind} file"
    names = [entry.name for entry in there[:MOST_NEIGHBOURS] if fits is None or _is_one(entry, kind, fits)]
    stems = {Path(each).stem: each for each in names}
    near = [stems[stem] for stem in difflib.get_close_matches(path.stem, stems, n=1, cutoff=0.6)]
    if near:
        return f"write {Path(os.path.normpath(name)).with_name(near[0])}"
    return f"write the path of a {kind} file" + (f" ({', '.join(names[:5])})" if names else "")


def _is_one(path: Path, kind: str, fits: Fits) -> bool:
    try:
        return fits(read_yaml(str(path), kind))
    except InputError:
        return False
