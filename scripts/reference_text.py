"""What scripts/make_reference.py needs to read docstrings and schemas, and to write tables."""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import itertools
import re
import textwrap
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

import supervisor.records as records

UNITS = {"seconds": "s", "steps": "steps", "step": "step", "updates": "updates", "update": "update"}
UNITS |= {"batches": "batches", "batch": "batch", "mb": "MiB", "bytes": "bytes", "threads": "threads"}

Schema = Mapping[str, Any]


class Undocumented(Exception):
    """A field, a value or an option says nothing of itself."""


def classes_in(annotation: Any, found: dict[int, Any] | None = None) -> list[Any]:
    """Every model, record and enumeration that a type mentions, however deep."""
    found = {} if found is None else found
    for part in (annotation, *typing.get_args(annotation)):
        if part is not annotation:
            classes_in(part, found)
        elif inspect.isclass(part) and id(part) not in found:
            found[id(part)] = part
            if issubclass(part, BaseModel):
                for field in part.model_fields.values():
                    classes_in(field.annotation, found)
            elif dataclasses.is_dataclass(part):
                for hint in typing.get_type_hints(part).values():
                    classes_in(hint, found)
    return list(found.values())


def attributes_of(model: Any) -> dict[str, str]:
    """What the `Attributes:` of a class and of its bases say, and of the records that its docstring names."""
    said: dict[str, str] = {}
    for name, field in getattr(model, "model_fields", {}).items():
        said[field.alias or name] = prose(field.description or "")
    for each in reversed(model.__mro__):
        # Each class by its own docstring; `schema` stands in JSON for `schema_version`.
        text = inspect.cleandoc(each.__dict__.get("__doc__") or "")
        for name in re.findall(r"the fields of `records\.(\w+)`", text):
            said |= attributes_of(getattr(records, name)) if hasattr(records, name) else {}
        block = re.search(r"^Attributes:\n((?:[ \t]+.*\n?|\n)+)", text, re.MULTILINE)
        entries = re.split(r"\n(?=\S)", textwrap.dedent(block.group(1)).strip()) if block else []
        said |= {entry.split(":")[0]: prose(entry.split(":", 1)[1]) for entry in entries}
    return {{"schema_version": "schema"}.get(name, name): text for name, text in said.items() if text}


def first_part(model: Any) -> str:
    """A docstring without its attributes."""
    return inspect.cleandoc(model.__doc__ or "").split("\nAttributes:")[0]


def enum_lines(values: type[enum.Enum]) -> Iterator[str]:
    """The values of an enumeration, with what is said of each."""
    docs = member_docs(values)
    for each in values:
        yield f"- `{each.value}`" + (f": {docs[each.name]}" if each.name in docs else "")
    yield ""


def member_docs(values: type[enum.Enum]) -> dict[str, str]:
    """What stands below each value of an enumeration, as a text."""
    body = typing.cast(ast.ClassDef, ast.parse(textwrap.dedent(inspect.getsource(values))).body[0]).body
    docs = {}
    for value, after in itertools.pairwise(body):
        text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else None
        if isinstance(value, ast.Assign) and isinstance(value.targets[0], ast.Name) and isinstance(text, str):
            docs[value.targets[0].id] = prose(text)
    return docs


def bound(field: Schema) -> str:
    """From where to where its values, or their number, may go."""
    several = [each for each in (*field.get("anyOf", ()), field) if each.get("type") != "null"]
    found = []
    for each in several:
        low, above = each.get("minimum"), each.get("exclusiveMinimum")
        high, below = each.get("maximum"), each.get("exclusiveMaximum")
        parts = [f"≥ {number(low)}"] * (low is not None) + [f"> {number(above)}"] * (above is not None)
        parts += [f"≤ {number(high)}"] * (high is not None) + [f"< {number(below)}"] * (below is not None)
        for key, words in (("Items", "entries"), ("Length", "characters")):
            least, most = each.get(f"min{key}"), each.get(f"max{key}")
            parts += [f"≥ {number(least)} {words}"] * (least is not None)
            parts += [f"≤ {number(most)} {words}"] * (most is not None)
        found.append(", ".join(parts))
    return "; ".join(dict.fromkeys(each for each in found if each))


def unit(name: str, field: Schema) -> str:
    """What a number counts, by its name."""
    kinds = {str(each.get("type")) for each in (*field.get("anyOf", ()), field)}
    return UNITS.get(name.rpartition("_")[2], "") if kinds & {"integer", "number"} else ""


def number(value: float | None) -> str:
    """A bound, as a person writes it."""
    if value is None:
        return ""
    return f"{value:,}".replace(",", " ") if isinstance(value, int) and value < 10**10 else f"{value:g}"


def flow(value: Any) -> str:
    """A value as YAML in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(each) for each in value) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def refs(schema: Any) -> list[str]:
    """Everything a schema refers to."""
    if isinstance(schema, dict):
        own = [schema["$ref"]] if "$ref" in schema else []
        return own + [ref for key, each in schema.items() if key not in ("$ref", "mapping") for ref in refs(each)]
    return [ref for each in schema for ref in refs(each)] if isinstance(schema, list) else []


def last(ref: str) -> str:
    """The name that a reference ends in."""
    return ref.rpartition("/")[2]


def prose(text: str) -> str:
    """A text in one line; a blank line in it stays one."""
    cut = inspect.cleandoc(text).split("\nAttributes:")[0]
    return "\n\n".join(" ".join(part.split()) for part in cut.split("\n\n") if part.strip())


def whole(model: Any) -> Any:
    """A section with all its defaults, as JSON; None where it has required fields, or is none."""
    try:
        return None if model is None else model().model_dump(mode="json")
    except ValueError:
        return None


def as_json(text: str) -> str:
    """A docstring of Python's in the words of the file."""
    return re.sub(r"\bNone\b", "null", text)


def anchor(title: str) -> str:
    """What a heading is linked by."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table without the columns that are empty in all rows."""
    kept = [place for place in range(len(head)) if any(row[place] for row in rows)]
    cells = [head, ("---",) * len(head), *rows]
    escaped = [[row[place].replace("|", "\\|").replace("\n", " ") for place in kept] for row in cells]
    return "\n".join(f"| {' | '.join(row)} |" for row in escaped) + "\n"
