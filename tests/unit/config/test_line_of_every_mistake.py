"""One mistake at every key of a policy, a job and a fault script: the message names the line of that key.

The same values are laid out in several ways, since what PyYAML gives as the place of a value is not always the line
of its key.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.config.origins import Origins
from supervisor.errors import InputError
from supervisor.faults import load_faults
from supervisor.faults.model import FaultScript
from supervisor.job import load_job
from supervisor.policy import RecoveryPolicy, load_policy
from supervisor.policy.load import plain_policy
from supervisor.policy.reactions import Reactions

Path_ = tuple[str | int, ...]

KINDS = FaultScript.model_json_schema()["properties"]["faults"]["items"]["discriminator"]["mapping"]
DRAWN = {"kind": "nan_batch", "rate": 0.1, "from_batch": 1, "seed": 2, "batches": 3}


def a_policy() -> dict[str, Any]:
    """Every key of a policy, written out."""
    reactions = {**dict.fromkeys(Reactions.model_fields), "sanitized_values": "observe"}
    return {**plain_policy(RecoveryPolicy()), "gradient_clip": {"max_norm": 1.0}, "reactions": reactions}


def faults() -> dict[str, Any]:
    """Every key of every kind of fault."""
    script = [{"kind": kind, **({"rows": [1]} if kind == "nan_sample" else {"at_batch": 1})} for kind in KINDS]
    full = [each.model_dump(mode="json") for each in FaultScript.model_validate({"faults": script}).faults]
    for each in full:
        for key in ("rate", "from_batch", "seed"):  # they cannot stand beside `at_batch`
            each.pop(key, None)
    return {"version": 1, "faults": [*full, DRAWN]}


def a_job() -> dict[str, Any]:
    """Every key of a job, with some of a policy and of faults inside."""
    return {
        "version": 1,
        "trainer": "mine:Trainer",
        "config": {"width": 8},
        "policy": {"version": 1, "detect": {"spike": {"threshold": 3.0}}, "ladder": [{"action": "lower_lr"}]},
        "steps": 5,
        "seed": 7,
        "device": "cpu",
        "run_dir": "runs/mine",
        "log_every_steps": 20,
        "observations": False,
        "cpu_threads": 1,
        "quarantine": "q.jsonl",
        "faults": [DRAWN],
    }


class Layout:
    """Writes plain values as YAML in one of several ways, and knows the line of each key and item.

    Args:
        style: `block`, `flow` (each key on a line of its own, in braces), or `below` (each value below its key).
        values: what to write.
        twice: a key to write twice.
    """

    def __init__(self, style: str, values: Any, twice: Path_ | None = None) -> None:
        self._style = style
        self._twice = twice
        self._rows = ["# A comment, and a blank line", ""]
        self.lines: dict[Path_, int] = {(): 3}
        self.second_line = 0
        if style == "flow":
            self._flow(values, (), "")
        else:
            self._block(values, (), "")
        self.text = "\n".join(self._rows) + "\n"

    def _entries(self, values: Any, path: Path_) -> Iterator[tuple[Path_, Any, bool]]:
        pairs = values.items() if isinstance(values, dict) else enumerate(values)
        for key, value in pairs:
            yield (*path, key), value, False
            if (*path, key) == self._twice:
                yield (*path, key), value, True

    def _add(self, path: Path_, row: str, again: bool) -> None:
        self._rows.append(row)
        if again:
            self.second_line = len(self._rows)
        else:
            self.lines[path] = len(self._rows)

    def _block(self, values: Any, path: Path_, indent: str) -> None:
        below = self._style == "below"
        for inner, value, again in self._entries(values, path):
            nested = isinstance(value, dict | list) and bool(value)
            start = f"{indent}-" if isinstance(values, list) else f"{indent}{_word(inner[-1])}:"
            if isinstance(values, list) and nested and not below:
                # `- key: value`: the first key stands beside the dash.
                mark = len(self._rows)
                self._block(value, inner, f"{indent}  ")
                self._rows[mark] = f"{indent}- {self._rows[mark].strip()}"
                self.lines[inner] = mark + 1
            elif nested:
                self._add(inner, start, again)
                if isinstance(values, list):  # an item has no key: its line is where its value begins
                    self.lines[inner] += 1
                self._block(value, inner, f"{indent}  ")
            elif below and isinstance(values, dict):
                self._add(inner, start, again)
                self._rows += ["", f"{indent}  # a comment in between", f"{indent}  {_word(value)}"]
            elif isinstance(value, str) and value and isinstance(values, dict):
                self._add(inner, f'{start} "{value}\\', again)  # a value of two lines
                self._rows.append(f'{indent}  "')
            else:
                self._add(inner, f"{start} {_word(value)}", again)

    def _flow(self, values: Any, path: Path_, indent: str, start: str = "") -> None:
        self._rows.append(f"{indent}{start}{'{' if isinstance(values, dict) else '['}")
        for inner, value, again in self._entries(values, path):
            key = f"{_word(inner[-1])}: " if isinstance(values, dict) else ""
            if isinstance(value, dict | list) and value:
                if again:
                    self.second_line = len(self._rows) + 1
                else:
                    self.lines[inner] = len(self._rows) + 1
                self._flow(value, inner, f"{indent}  ", key)
                self._rows[-1] += ","
            else:
                self._add(inner, f"{indent}  {key}{_word(value)},", again)
        self._rows.append(f"{indent}{'}' if isinstance(values, dict) else ']'}")


def _word(value: Any) -> str:
    return ".inf" if value == float("inf") else json.dumps(value)


def read_policy(text: str) -> None:
    Path("file.yaml").write_text(text)
    load_policy("file.yaml")


def read_job(text: str) -> None:
    Path("file.yaml").write_text(text)
    load_job("file.yaml")


def read_faults(text: str) -> None:
    Path("file.yaml").write_text(text)
    load_faults("file.yaml", Origins("job.yaml"))


FILES: dict[str, tuple[Callable[[], dict[str, Any]], Callable[[str], None]]] = {
    "policy": (a_policy, read_policy),
    "job": (a_job, read_job),
    "faults": (faults, read_faults),
}
LAYOUTS = ("block", "flow", "below")


def keys(values: Any, path: Path_ = ()) -> Iterator[Path_]:
    pairs = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in pairs:
        if isinstance(key, str):
            yield (*path, key)
        if (*path, key) != ("config",):
            yield from keys(value, (*path, key))


def around(values: Any, path: Path_) -> tuple[Any, Path_]:
    """The values that a mistake at a path needs around it, so that files are small: of a list its item alone."""
    if not path:
        return values, path
    if isinstance(values, list):
        inner, rest = around(values[int(path[0])], path[1:])
        return [inner], (0, *rest)
    inner, rest = around(values[path[0]], path[1:])
    kept = {key: value for key, value in values.items() if len(path) == 1 or not isinstance(value, dict | list)}
    return {key: inner if key == path[0] else values[key] for key in values if key in {path[0], *kept}}, (
        path[0],
        *rest,
    )


def changed(values: dict[str, Any], path: Path_, change: Callable[[Any, Any], None]) -> dict[str, Any]:
    """A copy in which `change` was called with the container and the key at a path."""
    values = copy.deepcopy(values)
    container: Any = values
    for part in path[:-1]:
        container = container[part]
    change(container, path[-1])
    return values


def problems(read: Callable[[str], None], text: str) -> list[tuple[int, Path_, str]]:
    """Line, key and words of everything that is wrong with a file."""
    try:
        read(text)
    except InputError as error:
        return [parsed(each) for each in error.problems]
    return []


def parsed(problem: str) -> tuple[int, Path_, str]:
    found = re.fullmatch(r"file\.yaml:(\d+): ([\w.]+): (.+: .+)", problem)
    assert found, problem
    return int(found[1]), tuple(int(part) if part.isdigit() else part for part in found[2].split(".")), found[3]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


WRONG: list[Any] = ["nonsense", "", True, -1, 1.5, 10**13, float("inf"), None, [], [None], {}, {"x": 1}]
CASES = [(layout, name, path) for name, (values, _) in FILES.items() for path in keys(values()) for layout in LAYOUTS]
EACH_CASE = pytest.mark.parametrize(("layout", "name", "path"), CASES, ids=lambda each: str(each).replace("'", ""))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_the_mistakes_are_planted_in_is_right(layout: str, name: str) -> None:
    values, read = FILES[name]
    assert problems(read, Layout(layout, values()).text) == []


@EACH_CASE
def test_a_wrong_value_is_found_on_the_line_of_its_key(layout: str, name: str, path: Path_) -> None:
    values, read = FILES[name]
    sound, path = around(values(), path)
    planted = 0
    for wrong in WRONG:

        def put(container: Any, key: Any, wrong: Any = wrong) -> None:
            container[key] = wrong

        file = Layout(layout, changed(sound, path, put))
        found = problems(read, file.text)
        planted += bool(found)
        for line, key, message in found:
            assert key[: len(path)] == path, message
            assert line == file.lines[key], message
            assert "does not fit" not in message, message
    assert planted


@EACH_CASE
def test_other_mistakes_are_found_on_the_line_of_their_key(layout: str, name: str, path: Path_) -> None:
    values, read = FILES[name]
    sound, path = around(values(), path)
    if path[:1] == ("config",) and len(path) > 1:
        return  # the trainer's own

    def misspell(container: Any, key: Any) -> None:
        container["xyzzy"] = container[key]

    file = Layout(layout, changed(sound, path, misspell))
    ((line, key, message),) = problems(read, file.text)
    assert (line, key) == (file.lines[key], (*path[:-1], "xyzzy"))
    assert message.startswith("no such key: ")

    file = Layout(layout, sound, twice=path)
    ((line, key, message),) = problems(read, file.text)
    assert (line, key) == (file.second_line, path)
    assert message.startswith(f"is written twice (first in line {file.lines[path]})")

    file = Layout(layout, changed(sound, path, lambda container, key: container.pop(key)))
    for line, key, message in problems(read, file.text):
        assert line == file.lines.get(key, file.lines[path[:-1]]), message
        assert key[: len(path) - 1] == path[:-1]
        assert message.startswith(("is missing", "has no ", "says nothing without"))
