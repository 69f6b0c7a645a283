"""Reading a fault script."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from supervisor.config.fixes import problems_of, shown
from supervisor.config.origins import Origins, refuse
from supervisor.config.yaml_source import read_yaml
from supervisor.faults.model import Fault, FaultScript

__all__ = ["load_faults"]


def load_faults(source: str | list[Any] | None, job: Origins) -> tuple[Fault, ...]:
    """The faults of a file (a mapping with `faults:`), of an inline list, or none.

    Args:
        source: path of a file, the list itself, or None.
        job: where the values of the job were written, an inline list among them.

    Raises:
        InputError: the file cannot be read or something in it is wrong; with line, key and mend.
    """
    if source is None:
        return ()
    if isinstance(source, list):
        values: Any = {"faults": source}
        origins = job
    else:
        document = read_yaml(source, "faults")
        refuse(document.problems)
        values, origins = document.value, document.origins
        if not isinstance(values, dict):
            mend = "write `version: 1` and a list `faults:`"
            refuse([origins.problem((), f"{shown(values)} is not a mapping", mend)])
    try:
        return FaultScript.model_validate(values).faults
    except ValidationError as error:
        refuse(problems_of(error, FaultScript, values, origins))
        raise
