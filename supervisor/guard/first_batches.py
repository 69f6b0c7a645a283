"""Tells a mistake in the program from bad data: it raises at the same line from the very first batch on."""

from __future__ import annotations

from dataclasses import dataclass, field

from supervisor.evidence import Blame, Evidence
from supervisor.records import Cause
from supervisor.update import Attempt

__all__ = ["FIRST", "FirstBatches"]

FIRST = 3
"""A step that raises alike on so many batches, the first of the run, raises on every one."""


@dataclass(slots=True)
class FirstBatches:
    """Remembers how the first updates of a run have raised.

    It is no part of a checkpoint: a run that is resumed amid them climbs its ladder.
    """

    _alike: list[tuple[str, str]] = field(default_factory=list, init=False)

    def convict(self, attempt: Attempt, cause: Cause | None) -> Evidence | None:
        """The program, where each of the first updates has raised at the same line; None where it is not to blame.

        Args:
            attempt: the update, which was discarded.
            cause: what the diagnosis found: rows without which the step does not raise are at fault themselves.
        """
        raised, place = attempt.raised, attempt.place
        if raised is None or not attempt.undone or place.update != len(self._alike) or place.update >= FIRST:
            return None
        if cause is not None and (cause.samples or cause.deterministic is False):
            return None
        self._alike.append((raised.type, raised.where or raised.message))
        if len(self._alike) < FIRST or len(set(self._alike)) > 1:
            return None
        where = f" at {raised.where}" if raised.where else ""
        why = f"each of the first {FIRST} batches raised {raised.message}{where}: the program is at fault, no batch is"
        return Evidence(Blame.CODE, why)
