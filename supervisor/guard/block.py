"""A guard as the context of a block: however the block is left, the run is ended in good order and closed."""

from __future__ import annotations

from typing import Self

from supervisor.errors import said_by
from supervisor.events.schema import RunStatus
from supervisor.guard.interrupts import held_back
from supervisor.guard.primitives import Primitives
from supervisor.update import Phase

__all__ = ["Block"]


class Block(Primitives):
    """What holds a guard's run together from the first line of a block to its last."""

    def __enter__(self) -> Self:
        self.interrupts.listen()
        return self

    @held_back
    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Finish the run where its schedule has ended, else break it off with a checkpoint; then close.

        What the block raised passes on, whatever else fails, and is on record. Where it was raised as the optimizer
        stepped, or as an update was answered, no checkpoint is written: the state is half of two.
        """
        try:
            if self._at_work and self._status is None:
                self._break_off(error)
            self.close()
        except Exception as failed:
            if error is None:
                raise
            self.parts.log.warn(f"the run could not be ended in good order: {said_by(failed)}")
        finally:
            self._rest()
            self.interrupts.leave()

    def _break_off(self, error: BaseException | None) -> None:
        parts, end = self.parts, self.parts.taker.end
        if error is None:
            ended = end is not None and self.steps_done >= end
            self.finish(RunStatus.FINISHED if ended else RunStatus.INTERRUPTED)
            return
        counters = parts.ledger.counters
        message = f"the loop was broken off by {said_by(error)}"
        # An update that ended in good order is forgotten at once.
        torn = self._attempt is not None and self._attempt.phase in (Phase.STEPPING, Phase.ENDED)
        if torn:
            message += " amid an update: no checkpoint of that; go on from the newest one"
        # Its traceback is told anyway.
        parts.log.warn(message, counters.step, parts.ledger.last_update, spoken=False)
        if not torn:
            self.finish(RunStatus.INTERRUPTED)
            return
        parts.states.flush()
        lost = parts.last_state.lost()
        self._status = RunStatus.INTERRUPTED if lost is None else RunStatus.UNSAVED
        parts.run_log.finished(self._status, lost)
