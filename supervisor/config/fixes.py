"""From what pydantic found to messages that say, in the user's words, what is wrong and what to write instead."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any

import annotated_types
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from supervisor.config.model_keys import all_paths, choices_of, keys_of, models_in, tag_of
from supervisor.config.origins import KeyPath, Origins, Problem, dotted
from supervisor.config.section import FORMAT_VERSION, Conflict, Section
from supervisor.config.switching_off import instead_of_switch, instead_of_value, is_switch
from supervisor.errors import text_of

__all__ = ["problems_of", "shown"]

_NUMBER_TYPES = frozenset(
    {"int_type", "int_from_float", "int_parsing", "int_parsing_size", "float_type", "float_parsing", "finite_number"}
)
_BOUNDS = frozenset({"greater_than", "greater_than_equal", "less_than", "less_than_equal"})
_NOT_A_MAPPING = frozenset({"model_type", "model_attributes_type", "dict_type", "mapping_type"})
_NOT_A_LIST = frozenset({"tuple_type", "list_type"})
_OWN_WORDS = frozenset({"value_error", "assertion_error"})


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
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, Mapping | list | tuple):
        return "a mapping" if isinstance(value, Mapping) else "a list"
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 40 else f'"{value[:37]}..."'
    text = "a huge number" if isinstance(value, int) and abs(value) >= 10**20 else repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


class _Site:
    """The place in the model that a pydantic location names, without the tags pydantic puts in between."""

    def __init__(self, model: type[BaseModel], raw: Any, location: tuple[int | str, ...]) -> None:
        self.models: list[type[BaseModel]] = [model]
        self.owners: list[type[BaseModel]] = []
        self.field: FieldInfo | None = None
        self.section: FieldInfo | None = None
        self.path: KeyPath = ()
        value = raw
        for part in location:
            if isinstance(value, Mapping):
                tagged = [each for each in self.models if tag_of(each)[1] == part]
                if tagged and len(self.models) > 1:
                    self.models = tagged
                    continue
                owner = next((each for each in self.models if part in keys_of(each)), None)
                if owner is None and part not in value:
                    continue
                self.owners, self.section = self.models, self.field
                self.field = keys_of(owner)[str(part)] if owner else None
                self.models = models_in(self.field)
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

    def rank(each: KeyPath) -> int:
        place = origins.place(each)
        return 0 if place.rank[0] == 1 else 1 if place.depth == len(each) else 2

    return min(paths, key=rank, default=path)


def _translate(
    kind: str, message: str, value: Any, context: Mapping[str, Any], site: _Site, root: type[BaseModel]
) -> tuple[KeyPath, str, str]:
    """The path, what is wrong with it, and what to write."""
    path, key = site.path, site.key
    if kind == "extra_forbidden":
        return path, "no such key", _instead_of_key(key, value, site, root)
    if kind == "invalid_key":
        return path, f"{shown(path[-1] if path else None)} is a number, not a name", "write a name as the key"
    if kind == "missing":
        return path, "is missing", f"write {_example(key, site)}"
    if kind in _BOUNDS | _NUMBER_TYPES and site.field and FORMAT_VERSION in site.field.metadata:
        return path, f"{shown(value)} is not a version of this format", f"write `{key}: 1`"
    if kind in _BOUNDS:
        return path, *_out_of_bounds(kind, key, value, context)
    if kind in _NUMBER_TYPES:
        return path, *_not_the_number(kind, key, value, site)
    if kind in {"literal_error", "enum"}:
        return path, f"{shown(value)} is not one of its values", _one_of(choices_of(site.field), value)
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        tags = [tag for _, tag in map(tag_of, site.models) if tag]
        name = context["discriminator"].strip("'")
        if kind == "union_tag_invalid":
            what = f"{shown(context['tag'])} is not {'an' if name.startswith('a') else 'a'} {name}"
            return (*path, name), what, _one_of(tags, context["tag"])
        return path, f"has no {name}", f"write `{name}:` with one of: {', '.join(tags)}"
    if kind in _NOT_A_MAPPING:
        if value is None:
            written = f"write its keys below it{_keys_of(site)}, or leave `{key}` out"
            return path, "is empty", written if key else "write keys and values"
        name = next((name for name, tag in map(tag_of, site.models) if tag == value), None)
        if name:
            noun = getattr(site.models[0], "noun", "mapping")
            return path, f"{shown(value)} is text, not a {noun}", f"write {{{name}: {value}}}"
        return (
            path,
            f"{shown(value)} is not a mapping",
            instead_of_value(key, value, site.field, site.models, _keys_of(site)),
        )
    if kind in _NOT_A_LIST:
        if value is None:
            return path, "is empty", f"write its items below it, each after a `- `, or leave `{key}` out"
        return path, f"{shown(value)} is not a list", "write its items below it, each after a `- `"
    if kind in {"too_long", "too_short"}:
        bound = f"most {context['max_length']}" if kind == "too_long" else f"least {context['min_length']}"
        return path, f"has {context['actual_length']} items", f"write at {bound}"
    if kind == "string_too_long":
        return path, "is too long", f"write at most {context['max_length']} characters"
    if kind == "string_too_short":
        return path, "is too short", f"write at least {context['min_length']} characters"
    if kind == "string_type":
        return path, f"{shown(value)} is not text", f"write {_example(key, site)}"
    if kind == "bool_type":
        return path, f"{shown(value)} is not true or false", "write `true` or `false`, without quotes"
    if kind in _OWN_WORDS and isinstance(context.get("error"), Exception):
        return _in_its_own_words(text_of(context["error"]), value, site)
    return path, f"{shown(value)} does not fit", message[:1].lower() + message[1:]


def _in_its_own_words(said: str, value: Any, site: _Site) -> tuple[KeyPath, str, str]:
    """What a validator of the user's has raised; about a whole section, it may begin with the key that it means."""
    if not isinstance(value, Mapping):
        return site.path, f"{shown(value)} does not fit", said
    key, colon, rest = said.partition(": ")
    if colon and any(key in keys_of(model) for model in site.models):
        return (*site.path, key), rest, ""
    return site.path, said or "does not fit", ""


def _instead_of_key(key: str, value: Any, site: _Site, root: type[BaseModel]) -> str:
    valid = sorted({name for owner in site.owners for name in keys_of(owner)})
    near = difflib.get_close_matches(key.lower().replace("-", "_"), valid, n=1, cutoff=0.7)
    if near:
        return f"write `{near[0]}`"
    if is_switch(key):
        # Never to be moved to another section, which it would switch off instead.
        return instead_of_switch(str(site.path[-2]) if len(site.path) > 1 else "", site.section, valid)
    hint = next((owner.unknown_key_hint for owner in site.owners if issubclass(owner, Section)), "")
    instead = f"remove it, or write one of: {', '.join(valid)}{hint}"
    own = {choice for owner in site.owners for field in owner.model_fields.values() for choice in choices_of(field)}
    elsewhere = [
        (path[:-1], owner)
        for path, owner in all_paths(root)
        # What is a value of this section's own keys is meant to stand here, under another name.
        if path[-1] == key and (str(value) not in own or str(value) in choices_of(keys_of(owner)[key]))
    ]
    for path, owner in elsewhere:
        if tag_of(owner)[1]:
            place = f"a {getattr(owner, 'noun', 'mapping')} of the `{dotted(path)}`"
            return instead if any(tag_of(each)[1] for each in site.owners) else f"write it in {place}"
    if len(elsewhere) == 1:
        path, _ = elsewhere[0]
        return f"write it under `{dotted(path)}`" if path else "write it at the top level"
    return instead


def _out_of_bounds(kind: str, key: str, value: Any, context: Mapping[str, Any]) -> tuple[str, str]:
    small = kind.startswith("greater")
    bound = next(context[name] for name in ("ge", "gt", "le", "lt") if name in context)
    what = f"{shown(value)} is too {'small' if small else 'large'}"
    if kind.endswith("equal"):
        return what, f"write `{key}: {_plain(bound)}` or {'more' if small else 'less'}"
    return what, f"write a number {'above' if small else 'below'} {_plain(bound)}"


def _not_the_number(kind: str, key: str, value: Any, site: _Site) -> tuple[str, str]:
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
    low = high = ""
    for bound in field.metadata if field else ():
        match bound:
            case annotated_types.Ge():
                low = f" from {_plain(bound.ge)}"
            case annotated_types.Gt():
                low = f" above {_plain(bound.gt)}"
            case annotated_types.Le():
                high = f" to {_plain(bound.le)}"
            case annotated_types.Lt():
                high = f" to less than {_plain(bound.lt)}"
    return (low + (high if low.startswith(" from") else high.replace(" to", ", up to", 1))) if low else ""


def _plain(bound: Any) -> str:
    return f"{bound:.15g}" if isinstance(bound, float) else str(bound)


def _one_of(choices: list[str], value: Any) -> str:
    near = difflib.get_close_matches(str(value).lower(), choices, n=1, cutoff=0.7)
    return f"write `{near[0]}` (one of: {', '.join(choices)})" if near else f"write one of: {', '.join(choices)}"


def _keys_of(site: _Site) -> str:
    names = list(dict.fromkeys(name for model in site.models for name in keys_of(model)))
    return f" ({', '.join(names)})" if names else ""


def _example(key: str, site: _Site) -> str:
    examples = site.field.examples if site.field else None
    return f"`{key}: {examples[0]}`" if examples else f"`{key}: ...`"
