"""Reading a fault script."""

from __future__ import annotations

from typing import Any

from supervisor.config.check import check
from supervisor.config.origins import Origins, Problem, refuse
from supervisor.config.yaml_source import read_yaml
from supervisor.config.yaml_values import Document
from supervisor.faults.model import Fault, FaultScript

__all__ = ["check_faults", "fault_script", "load_faults"]


def load_faults(source: str | list[Any] | None, job: Origins) -> tuple[Fault, ...]:
    """The faults of a file (a mapping with `faults:`), of an inline list, or none.

    Args:
        source: path of a file, the list itself, or None.
        job: where the values of the job were written, an inline list among them.

    Raises:
        InputError: the file cannot be read or something in it is wrong; with line, key and fix.
    """
    if source is None:
        return ()
    script, problems = check_faults(fault_script(source, job))
    refuse(problems)
    assert script is not None
    return script.faults


def fault_script(source: str | list[Any], job: Origins) -> Document:
    """The fault script that a file, or an inline list of the job, holds; the arguments are those of `load_faults`."""
    return (
        Document({"faults": source}, job) if isinstance(source, list) else read_yaml(source, "faults", fits=_is_script)
    )


def _is_script(document: Document) -> bool:
    return not check_faults(document)[1]


def check_faults(document: Document) -> tuple[FaultScript | None, list[Problem]]:
    """The fault script a document describes, or all that is wrong with it."""
    return check(FaultScript, document, "`version: 1` and a list `faults:`")
