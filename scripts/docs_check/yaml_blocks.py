"""YAML of a page against the models: a job, a policy, faults, or a part of one, told apart by its keys."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from supervisor.config.check import check
from supervisor.config.origins import Problem
from supervisor.config.yaml_source import read_yaml
from supervisor.config.yaml_values import Document
from supervisor.errors import InputError
from supervisor.faults.load import check_faults
from supervisor.faults.model import FaultScript
from supervisor.job import Job
from supervisor.policy.load import check_policy
from supervisor.policy.model import RecoveryPolicy

__all__ = ["OTHERS", "argument_lists", "is_part_of_ours", "wrong_yaml"]

OTHERS = "yaml of another program"
"""What a comment above a block says of YAML that is none of ours."""

_LEAST_JOB = {"trainer": "mine:Trainer", "steps": 1}


def wrong_yaml(text: str, *, comment: str = "", line: int = 1) -> Iterator[tuple[int, str]]:
    """What is wrong with a block: line and words.

    Args:
        text: the block.
        comment: what stands above it.
        line: where it begins in its page.
    """
    try:
        document = _read(text)
    except InputError as error:
        told = re.sub(r"\S*block\.yaml:", "", str(error))
        yield line, f"is no YAML: {told}"
        return
    if comment == OTHERS or _is_of_kubernetes(document.value):
        return
    problems = _problems(document)
    if comment.startswith("file exit 2: "):
        # It is there to be refused.
        if problems == []:
            yield line, "has no mistake, although it is said to be refused"
        return
    if problems is None:
        yield line, f"is no part of a job, a policy or faults: mend it, or write <!-- {OTHERS} --> above it"
    for problem in problems or ():
        place = re.match(r".*?block\.yaml:(\d+): ", str(problem))
        yield (line + int(place[1]) - 1, str(problem)[place.end() :]) if place else (line, str(problem))


def is_part_of_ours(text: str) -> bool:
    """Whether a line of code in a sentence is a part of a policy or of a job: `restart: {max_restarts: 3}`."""
    key, colon, rest = text.partition(": ")
    known = {*RecoveryPolicy.model_fields, *Job.model_fields} - {"version"}
    return bool(colon) and bool(rest.strip()) and key in known and "…" not in text and not rest[0].isupper()


def argument_lists(text: str) -> Iterator[list[str]]:
    """Every list in YAML that is a command of ours: `command: [supervisor, run, job.yaml]`."""
    try:
        waiting: list[Any] = [_read(text).value]
    except InputError:
        return
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, list):
            if value and value[0] == "supervisor":
                yield [str(each) for each in value]
            waiting += value


def _read(text: str) -> Document:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "block.yaml")
        path.write_text(text, encoding="utf-8")
        document = read_yaml(str(path), "block")
    if document.problems:
        raise InputError(*map(str, document.problems))
    return document


def _is_of_kubernetes(value: Any) -> bool:
    return isinstance(value, Mapping) and {"apiVersion", "kind"} <= set(value)


def _problems(document: Document) -> list[Problem] | None:
    """What is wrong with it as what it is; None where it is none of ours."""
    value = document.value
    if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        kind = "ladder" if all("action" in each for each in value) else "faults"
        value = {kind: value}
    if not isinstance(value, Mapping) or not value:
        return None
    document = replace(document, value=value)
    keys = set(value)
    if "trainer" in keys:
        return _of_a_job(document)
    if keys <= set(FaultScript.model_fields):
        return check_faults(document)[1]
    # One key that is known tells; the others may be the mistakes.
    if keys & (set(RecoveryPolicy.model_fields) - {"version"}):
        return check_policy(document)[1]
    return _of_a_job(document) if keys & (set(Job.model_fields) - {"version"}) else None


def _of_a_job(document: Document) -> list[Problem]:
    whole = replace(document, value={**_LEAST_JOB, **document.value})
    problems = check(Job, whole, "`trainer: module:Class`")[1]
    if isinstance(document.value.get("policy"), Mapping):
        problems += check_policy(document.below("policy"), prefix=("policy",))[1]
    if isinstance(document.value.get("faults"), list):
        problems += check_faults(replace(document, value={"faults": document.value["faults"]}))[1]
    return problems
