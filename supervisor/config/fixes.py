"""From what pydantic found to messages that say, in the user's words, what is wrong and what to write instead."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

import annotated_types
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from supervisor.config.numbers import IsFormatVersion
from supervisor.config.origins import KeyPath, Origins, Problem, dotted
from supervisor.config.section import Conflict, Section

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
    """Everything that pydantic found, as problems.

    Args:
        error: what `model.model_validate(raw)` raised.
        model: the model.
        raw: what was validated.
        origins: where each value of `raw` was written.
        prefix: added before every key, for a policy inside a job.
    """
    problems = []
    for detail in error.errors(include_url=False):
        site = _Site(model, raw, detail["loc"])
        context = detail.get("ctx") or {}
        if detail["type"] == "too_short" and len(detail["input"]) >= context["min_length"]:
            continue  # pydantic counts the sound items alone; the others are reported themselves
        if detail["type"] == "conflict":
            for conflict in context["conflicts"]:
                path = _blamed(site.path, conflict, origins)
                section = site.path if conflict.keys else None
                problems.append(origins.problem(path, conflict.what, conflict.fix, prefix=prefix, section=section))
            continue
        path, what, fix = _translate(detail["type"], detail["msg"], detail["input"], context, site, model)
        section = {"missing": path[:-1], "union_tag_not_found": path}.get(detail["type"])
        problems.append(origins.problem(path, what, fix, prefix=prefix, section=section))
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
                tagged = [each for each in self.models if _tag(each) == part]
                if tagged and len(self.models) > 1:
                    self.models = tagged
                    continue
                owner = next((each for each in self.models if part in each.model_fields), None)
                if owner is None and part not in value:
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

    @property
    def is_format_version(self) -> bool:
        return self.field is not None and any(isinstance(each, IsFormatVersion) for each in self.field.metadata)


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
        return path, *_out_of_bounds(kind, key, value, context, site)
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
        if value is None:
            return path, "is empty", _instead_of_null(key, site)
        if isinstance(value, str) and value in map(_tag, site.models):
            name, noun = _tag_key(site.models[0]), getattr(site.models[0], "noun", "mapping")
            return path, f"{shown(value)} is text, not a {noun}", f"write {{{name}: {value}}}"
        return path, f"{shown(value)} is not a mapping", f"write keys and values{_keys_of(site)}"
    if kind in _NOT_A_LIST:
        if value is None:
            return path, "is empty", f"write its items below it, each after a `- `, or leave `{key}` out"
        return path, f"{shown(value)} is not a list", "write its items below it, each after a `- `"
    if kind == "too_long":
        return path, f"has {context['actual_length']} items", f"write at most {context['max_length']}"
    if kind == "too_short":
        return path, f"has {context['actual_length']} items", f"write at least {context['min_length']}"
    if kind == "string_too_long":
        return path, "is too long", f"write at most {context['max_length']} characters"
    if kind == "string_too_short":
        return path, "is too short", f"write at least {context['min_length']} characters"
    if kind == "string_type":
        return path, f"{shown(value)} is not text", f"write {_example(key, site)}"
    if kind == "bool_type":
        return path, f"{shown(value)} is not true or false", "write `true` or `false`, without quotes"
    return path, f"{shown(value)} does not fit", message[:1].lower() + message[1:]


def _instead_of_key(key: str, site: _Site, root: type[BaseModel]) -> str:
    valid = sorted({name for owner in site.owners for name in owner.model_fields})
    near = difflib.get_close_matches(key.lower().replace("-", "_"), valid, n=1, cutoff=0.7)
    if near:
        return f"write `{near[0]}`"
    hint = next((owner.unknown_key_hint for owner in site.owners if issubclass(owner, Section)), "")
    instead = f"remove it, or write one of: {', '.join(valid)}{hint}"
    elsewhere = [(path, owner) for path, owner in _all_paths(root) if path[-1] == key]
    in_a_list = next(((path, owner) for path, owner in elsewhere if _tag(owner)), None)
    if in_a_list:
        path, owner = in_a_list
        place = f"a {getattr(owner, 'noun', 'mapping')} of the `{dotted(path[:-1])}`"
        return instead if any(map(_tag, site.owners)) else f"write it in {place}"
    if len(elsewhere) == 1:
        path, _ = elsewhere[0]
        return f"write it under `{dotted(path[:-1])}`" if path[:-1] else "write it at the top level"
    return instead


def _out_of_bounds(kind: str, key: str, value: Any, context: Mapping[str, Any], site: _Site) -> tuple[str, str]:
    small = kind.startswith("greater")
    bound = next(context[name] for name in ("ge", "gt", "le", "lt") if name in context)
    if site.is_format_version:
        return f"{shown(value)} is not a version of this format", f"write `{key}: {bound:g}`"
    what = f"{shown(value)} is too {'small' if small else 'large'}"
    if kind.endswith("equal"):
        return what, f"write `{key}: {_plain(bound)}` or {'more' if small else 'less'}"
    return what, f"write a number {'above' if small else 'below'} {_plain(bound)}"


def _not_the_number(kind: str, key: str, value: Any, site: _Site) -> tuple[str, str]:
    if site.is_format_version:
        return f"{shown(value)} is not a version of this format", f"write `{key}: 1`"
    noun = "whole number" if kind.startswith("int") else "number"
    fix = f"write a {noun}{_range(site.field)}"
    if value is None:
        return "is empty", f"{fix}, or leave `{key}` out"
    if isinstance(value, str):
        return f"{shown(value)} is text, not a {noun}", f"{fix}, without quotes"
    if kind == "finite_number":
        return f"{shown(value)} is not finite", fix
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{shown(value)} is too large", fix
    return f"{shown(value)} is not a {noun}", fix


def _range(field: FieldInfo | None) -> str:
    """The bounds of a number in words: ` from 1 to 10`; nothing where there is no lower one."""
    bounds: dict[type, Any] = {type(each): each for each in (field.metadata if field else ())}
    high = ""
    if annotated_types.Le in bounds:
        high = f" to {_plain(bounds[annotated_types.Le].le)}"
    elif annotated_types.Lt in bounds:
        high = f" to less than {_plain(bounds[annotated_types.Lt].lt)}"
    if annotated_types.Ge in bounds:
        return f" from {_plain(bounds[annotated_types.Ge].ge)}{high}"
    if annotated_types.Gt in bounds:
        return f" above {_plain(bounds[annotated_types.Gt].gt)}{high.replace(' to', ', up to', 1)}"
    return ""


def _plain(bound: Any) -> str:
    return f"{bound:.15g}" if isinstance(bound, float) else str(bound)


def _one_of(choices: list[str], value: Any) -> str:
    near = difflib.get_close_matches(str(value).lower(), choices, n=1, cutoff=0.7)
    return f"write `{near[0]}` (one of: {', '.join(choices)})" if near else f"write one of: {', '.join(choices)}"


def _instead_of_null(key: str, site: _Site) -> str:
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


def _tag_key(model: type[BaseModel]) -> str | None:
    """The key that tells a model from the others a list may hold: it can have one value only."""
    for name, field in model.model_fields.items():
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1:
            return name if isinstance(field.default, str) else None
    return None


def _tag(model: type[BaseModel]) -> str | None:
    """The one value of that key."""
    key = _tag_key(model)
    return str(model.model_fields[key].default) if key else None


def _all_paths(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[KeyPath, type[BaseModel]]]:
    """The path of every key that can be written, and the model it belongs to."""
    for name, field in model.model_fields.items():
        yield (*path, name), model
        for inner in _models_in(field.annotation):
            yield from _all_paths(inner, (*path, name))
