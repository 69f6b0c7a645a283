"""Keys of jobs and policies, as `restart.max_restarts`, against the models."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from supervisor.job import Job
from supervisor.policy import RecoveryPolicy

__all__ = ["wrong_key", "wrong_setting"]

LADDER = "ladder"


def wrong_setting(setting: str) -> Iterator[str]:
    """What is wrong with the key of `--set a.b=VALUE`; the trainer's own `config` is not known."""
    key, equals, _ = setting.partition("=")
    first, _, rest = key.partition(".")
    if not equals:
        yield f"--set {setting}: write KEY=VALUE"
    elif first == "policy" and rest:
        yield from wrong_key(rest, whole=f"policy.{rest}")
    elif first not in Job.model_fields and first != "a":
        yield f"--set {key}: a job has no key {first}"


def wrong_key(key: str, *, whole: str = "") -> Iterator[str]:
    """What is wrong with a dotted key of a policy."""
    models: list[Any] = [RecoveryPolicy]
    for name in key.split("."):
        if not models or name.isdigit():
            # Within a list, or a value of its own kind.
            continue
        fields = [each.model_fields[name] for each in models if name in each.model_fields]
        if not fields:
            yield f"{whole or key}: a policy has no such key"
            return
        models = [model for field in fields for model in _models_in(field.annotation)]


def _models_in(annotation: Any) -> Iterator[Any]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, BaseModel):
            yield annotation
        return
    for part in typing.get_args(annotation):
        yield from _models_in(part)
