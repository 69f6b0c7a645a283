"""What is wrong with a value and what to write instead, in the user's words."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import annotated_types
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from supervisor.config.origins import KeyPath, Origins, Problem, dotted
from supervisor.config.section import Conflict

__all__ = ["problems_of", "shown"]

_NUMBER_TYPES = frozenset(
    {"int_type", "int_from_float", "int_parsing", "int_parsing_size", "float_type", "float_parsing"}
)
_BOUNDS = frozenset({"greater_than", "greater_than_equal", "less_than", "less_than_equal"})
_NOT_A_MAPPING = frozenset({"model_type", "model_attributes_type", "dict_type", "mapping_type"})
_NOT_A_LIST = frozenset({"tuple_type", "list_type"})


def problems_of(
    error: ValidationError, model: type[BaseModel], raw: Any, origins: Origins, *, prefix: KeyPath = ()
) -> list[Problem]:
    """Everything pydantic found, translated.

    Args:
        error: what `model.model_validate(raw)` raised.
        model: the model.
        raw: what was validated.
        origins: where each value of `raw` was written.
        prefix: shown before every key, for a policy inside a job.
    """
    problems = []
    for detail in error.errors(include_url=False):
        site = _Site(model, raw, detail["loc"])
        context = detail.get("ctx") or {}
        if detail["type"] == "conflict":
            for conflict in context["conflicts"]:
                path = _blamed(site.path, conflict, origins)
                problems.append(origins.problem(path, conflict.what, conflict.mend, prefix=prefix))
            continue
        path, what, mend = _translate(detail["type"], detail["msg"], detail["input"], context, site, model)
        problems.append(origins.problem(path, what, mend, prefix=prefix))
    return problems


def shown(value: Any) -> str:
    """A value as the user wrote it, shortened."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 40 else f'"{value[:37]}..."'
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, int) and abs(value) >= 10**20:
        return "a huge number"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


class _Site:
    """The place in the model that a pydantic location names, without the tags pydantic puts in between."""

    def __init__(self, model: type[BaseModel], raw: Any, location: tuple[int | str, ...]) -> None:
        self.models: list[type[BaseModel]] = [model]
        self.owners: list[type[BaseModel]] = []
        self.field: FieldInfo | None = None
        self.path: KeyPath = ()
        value = raw
        for part in location:
            if isinstance(value, Mapping):
                owner = next((each for each in self.models if part in each.model_fields), None)
                if owner is None and part not in value:
                    self.models = [each for each in self.models if _tag(each) == part] or self.models
                    continue
                self.owners = self.models
                self.field = owner.model_fields[str(part)] if owner else None
                self.models = list(_models_in(self.field.annotation)) if self.field else []
                value = value.get(part)
            elif isinstance(value, list | tuple) and isinstance(part, int):
                value = value[part]
            else:
                continue
            self.path = (*self.path, part)

    @property
    def key(self) -> str:
        return str(self.path[-1]) if self.path else ""


def _blamed(path: KeyPath, conflict: Conflict, origins: Origins) -> KeyPath:
    """The key to name for a conflict: the one a flag has set, else the first one written."""
    paths = [(*path, *(int(part) if part.isdigit() else part for part in key.split("."))) for key in conflict.keys]
    if not paths:
        return path
    places = [origins.place(each) for each in paths]
    written = [
        (place.rank[0] == 0, each)
        for each, place in zip(paths, places, strict=True)
        if place.depth == len(each) or place.rank[0] == 1
    ]
    return min(written, key=lambda pair: pair[0])[1] if written else paths[0]


def _translate(
    kind: str, message: str, value: Any, context: Mapping[str, Any], site: _Site, root: type[BaseModel]
) -> tuple[KeyPath, str, str]:
    """The path, what is wrong with it, and what to write."""
    path, key = site.path, site.key
    if kind == "extra_forbidden":
        return path, "no such key", _instead_of_key(key, site, root)
    if kind == "invalid_key":
        return path, f"{shown(path[-1] if path else None)} is a number, not a name", "write a name as the key"
    if kind == "missing":
        return path, "is missing", f"write {_example(key, site)}"
    if kind in _BOUNDS:
        return path, *_out_of_bounds(kind, key, value, context)
    if kind in _NUMBER_TYPES or kind == "finite_number":
        return path, *_not_the_number(kind, key, value, site)
    if kind in {"literal_error", "enum"}:
        return path, f"{shown(value)} is not one of its values", _one_of(_choices(site.field), value)
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        tags = [tag for tag in map(_tag, site.models) if tag]
        name = context["discriminator"].strip("'")
        if kind == "union_tag_invalid":
            article = "an" if name.startswith("a") else "a"
            what = f"{shown(context['tag'])} is not {article} {name}"
            return (*path, name), what, _one_of(tags, context["tag"])
        return path, f"has no {name}", f"write `{name}:` with one of: {', '.join(tags)}"
    if kind in _NOT_A_MAPPING:
        tags = [tag for tag in map(_tag, site.models) if tag]
        if value is None:
            return path, "is empty", _instead_of_null(key, site)
        if isinstance(value, str) and value in tags:
            name, what = ("action", "rung") if "action" in site.models[0].model_fields else ("kind", "fault")
            return path, f"{shown(value)} is text, not a {what}", f"write {{{name}: {value}}}"
        return path, f"{shown(value)} is not a mapping", f"write keys and values{_keys_of(site)}"
    if kind in _NOT_A_LIST:
        if value is None:
            return path, "is empty", f"write its items below it, each after a `- `, or leave `{key}` out"
        return path, f"{shown(value)} is not a list", "write its items below it, each after a `- `"
    if kind == "too_long":
        return path, f"has {context['actual_length']} items", f"write at most {context['max_length']}"
    if kind == "string_too_long":
        return path, "is too long", f"write at most {context['max_length']} characters"
    if kind == "string_type":
        return path, f"{shown(value)} is not text", f"write {_example(key, site)}"
    return path, f"{shown(value)} does not fit", message[:1].lower() + message[1:]


def _instead_of_key(key: str, site: _Site, root: type[BaseModel]) -> str:
    valid = sorted({name for owner in site.owners for name in owner.model_fields})
    near = difflib.get_close_matches(key.lower().replace("-", "_"), valid, n=1, cutoff=0.7)
    if near:
        return f"write `{near[0]}`"
    elsewhere = [path for path in _all_paths(root) if path[-1] == key]
    if any(path[0] == "ladder" and len(path) == 2 for path in elsewhere):
        others = f"remove it, or write one of: {', '.join(valid)}"
        return others if any(map(_tag, site.owners)) else "write it in a rung of the `ladder`"
    if len(elsewhere) == 1:
        return f"write it under `{dotted(elsewhere[0][:-1])}`" if elsewhere[0][:-1] else "write it at the top level"
    under_config = "; the trainer's own keys belong under `config`" if "config" in valid else ""
    return f"remove it, or write one of: {', '.join(valid)}{under_config}"


def _out_of_bounds(kind: str, key: str, value: Any, context: Mapping[str, Any]) -> tuple[str, str]:
    small = kind.startswith("greater")
    bound = next(context[name] for name in ("ge", "gt", "le", "lt") if name in context)
    if key == "version":
        return f"{shown(value)} is not a version of this format", f"write `version: {bound:g}`"
    what = f"{shown(value)} is too {'small' if small else 'large'}"
    if kind.endswith("equal"):
        return what, f"write `{key}: {_plain(bound)}` or {'more' if small else 'less'}"
    return what, f"write a number {'above' if small else 'below'} {_plain(bound)}"


def _not_the_number(kind: str, key: str, value: Any, site: _Site) -> tuple[str, str]:
    if key == "version":
        return f"{shown(value)} is not a version of this format", "write `version: 1`"
    whole = kind.startswith("int")
    noun = "whole number" if whole else "number"
    mend = f"write a {noun}{_range(site.field)}"
    if value is None:
        return "is empty", f"{mend}, or leave `{key}` out"
    if isinstance(value, str):
        return f"{shown(value)} is text, not a {noun}", f"{mend}, without quotes"
    if kind == "finite_number":
        return f"{shown(value)} is not finite", mend
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{shown(value)} is too large", mend
    return f"{shown(value)} is not a {noun}", mend


def _range(field: FieldInfo | None) -> str:
    low = high = ""
    for bound in field.metadata if field else ():
        if isinstance(bound, annotated_types.Ge):
            low = f" from {_plain(bound.ge)}"
        elif isinstance(bound, annotated_types.Gt):
            low = f" above {_plain(bound.gt)}"
        elif isinstance(bound, annotated_types.Le):
            high = f" to {_plain(bound.le)}"
        elif isinstance(bound, annotated_types.Lt):
            high = f" to less than {_plain(bound.lt)}"
    return (low + (high if low.startswith(" from") else high.replace(" to", ", up to", 1))) if low else ""


def _plain(bound: Any) -> str:
    return f"{bound:.15g}" if isinstance(bound, float) else str(bound)


def _one_of(choices: list[str], value: Any) -> str:
    near = difflib.get_close_matches(str(value).lower(), choices, n=1, cutoff=0.7)
    return f"write `{near[0]}` (one of: {', '.join(choices)})" if near else f"write one of: {', '.join(choices)}"


def _instead_of_null(key: str, site: _Site) -> str:
    if key == "limit":
        return "write {uses: ..., window_updates: ...}, or leave `limit` out"
    return f"write its keys below it{_keys_of(site)}, or leave `{key}` out" if key else "write keys and values"


def _keys_of(site: _Site) -> str:
    names = list(dict.fromkeys(name for model in site.models for name in model.model_fields))
    return f" ({', '.join(names)})" if names else ""


def _example(key: str, site: _Site) -> str:
    examples = site.field.examples if site.field else None
    return f"`{key}: {examples[0]}`" if examples else f"`{key}: ...`"


def _choices(field: FieldInfo | None) -> list[str]:
    pending = [field.annotation] if field else []
    choices: list[str] = []
    while pending:
        each = pending.pop(0)
        if isinstance(each, type) and issubclass(each, enum.Enum):
            choices += [str(member.value) for member in each]
        elif isinstance(each, str):
            choices.append(each)
        pending += get_args(each)
    return choices


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _tag(model: type[BaseModel]) -> str | None:
    """What a model is told by among others: the `action` of a rung, the `kind` of a fault."""
    field = model.model_fields.get("action") or model.model_fields.get("kind")
    return str(field.default) if field and isinstance(field.default, str) else None


def _all_paths(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        yield (*path, name)
        for inner in _models_in(field.annotation):
            yield from _all_paths(inner, (*path, name))
