"""Whether the data last for the whole run: those that cannot begin again end it when they end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from supervisor.preflight.report import DataCheck

__all__ = ["begins_again", "lasting"]


def begins_again(data: Iterable[Any]) -> bool:
    """Whether data that were read to their end give a batch when they are begun again; one is drawn.

    Raises:
        Exception: whatever the data raise.
    """
    return any(True for _ in data)


def lasting(data: DataCheck, *, drawn: int, needed: int, again: Callable[[], bool]) -> tuple[str | None, str | None]:
    """Whether the data have a batch for every step.

    Args:
        data: the pass over them, after the first updates.
        drawn: batches that the first updates took before.
        needed: batches that the run takes.
        again: asked where they came to their end before that: whether they begin again.

    Returns:
        What surely fails, and what was not looked at; None where there is no such thing.
    """
    if data.unit == "rows" or data.enough:
        return None, None
    if not data.complete:
        # Those that know their length are a list or a loader: these begin again.
        return None, None if data.total is not None else (
            f"not looked at: whether the data last for the {needed:,} batches that the run needs; `--rows all` reads "
            "so many"
        )
    given = drawn + data.read
    if given >= needed or again():
        return None, None
    return (
        f"the data ended after {given:,} batches and cannot begin again, and the run needs {needed:,}: "
        "give a list or a DataLoader, or fewer steps"
    ), None
