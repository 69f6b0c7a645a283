"""Tells a mistake in the program from bad data: it raises at the same line from the very first batch on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from supervisor.experiments import OtherBatches
from supervisor.records import Cause, CauseKind, Observation
from supervisor.report.raised import mend_of
from supervisor.update import Attempt, LossError

__all__ = ["FIRST", "FirstBatches"]

FIRST = 3
"""A step that raises alike on so many batches, before any update was applied, raises on every one."""


def _nothing_applied() -> bool:
    return False


@dataclass(slots=True)
class FirstBatches:
    """Looks into exceptions that come before the first update of a run was applied.

    How earlier ones were raised is no part of a checkpoint: a run that is resumed amid them begins to count anew.

    Attributes:
        applied: says whether any update was applied so far.
        others: runs other batches, so that the first exception tells; None: what comes next is waited for.
        at_fault: what is wrong with the program, as `file:line: what: mend`; None where nothing was found.
    """

    applied: Callable[[], bool] = _nothing_applied
    others: OtherBatches | None = None
    at_fault: str | None = field(default=None, init=False)
    _alike: list[tuple[str, str]] = field(default_factory=list, init=False)

    @property
    def asks(self) -> bool:
        """Whether no update was applied yet."""
        return not self.applied()

    def wrong_loss(self, attempt: Attempt) -> bool:
        """Whether the first loss of the run is none, so that no batch needs to be asked."""
        error = attempt.error
        if not isinstance(error, LossError) or self.applied():
            return False
        self.at_fault = str(error)
        return True

    def convict(self, attempt: Attempt, cause: Cause | None) -> bool:
        """Whether the program is at fault, for this update and others than it raise at the same line.

        Args:
            attempt: the update, which was discarded.
            cause: what the diagnosis found: rows without which the step does not raise are at fault themselves, and a
                step that is healthy when it is run again is nobody's fault.
        """
        raised = attempt.raised
        if raised is None or self.applied():
            return False
        if cause is not None and (cause.samples or _by_chance(cause)):
            return False
        how = (raised.type, raised.where or raised.message)
        if self._alike[-1:] != [how]:
            self._alike.clear()
        self._alike.append(how)
        if len(self._alike) < FIRST and not self._others_raise(attempt, how):
            return False
        where = f"{raised.where}: " if raised.where else ""
        alike = f"each of the first {FIRST} batches raised it at this line"
        mend = mend_of(raised.message) or "mend the program"
        self.at_fault = f"{where}{raised.message}: {alike}, so that no update can be made: {mend}"
        return True

    def _others_raise(self, attempt: Attempt, how: tuple[str, str]) -> bool:
        if self.others is None or not attempt.undone:
            return False
        seen = self.others.observed(attempt, FIRST - 1)
        return seen is not None and all(_how(each) == how for each in seen)


def _by_chance(cause: Cause) -> bool:
    return cause.kind is CauseKind.NOT_REPRODUCIBLE or cause.deterministic is False


def _how(seen: Observation) -> tuple[str, str] | None:
    if seen.exception is None:
        return None
    return seen.exception.partition(":")[0], seen.exception_where or seen.exception
