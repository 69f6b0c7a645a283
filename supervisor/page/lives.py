"""The processes that a run had, one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from supervisor.events import schema
from supervisor.events.schema import Event
from supervisor.tracebacks import last_line

__all__ = ["Life", "Lives"]


@dataclass(slots=True)
class Life:
    """One process that trained.

    Attributes:
        number: from 1.
        started: when its first line was written.
        from_step: the checkpoint that it went on from; 0 for a run that began, None where it did not get as far.
        last_step: the last step of which it has told; None where it told of none.
        ended: when it was gone; None while it runs, and where nobody was left to say so.
        how: how it ended, as `killed (SIGKILL)`; None likewise.
        why: more about it, where more is known.
        orderly: whether it ended as it should.
    """

    number: int
    started: datetime
    from_step: int | None = None
    last_step: int | None = None
    ended: datetime | None = None
    how: str | None = None
    why: str | None = None
    orderly: bool = True


class Lives:
    """Takes in the events of a run, those that a resume made void too: the processes were there."""

    def __init__(self) -> None:
        self._lives: list[Life] = []
        self._waiting = False

    def tell(self, event: Event) -> None:
        """Take in the next event; of several ranks the first one speaks for all."""
        if event.rank:
            return
        match event:
            case schema.WorkerStartedEvent():
                self._begin(event)
                self._waiting = True
            case schema.RunStartedEvent() | schema.RunResumedEvent():
                if not self._waiting:
                    self._begin(event)
                self._waiting = False
                self._lives[-1].from_step = event.checkpoint_step if isinstance(event, schema.RunResumedEvent) else 0
            case _ if self._lives:
                self._tell_end(event, self._lives[-1])

    def rows(self) -> Iterable[Life]:
        """The processes so far, in order."""
        return tuple(self._lives)

    def _begin(self, event: Event) -> None:
        self._lives.append(Life(len(self._lives) + 1, event.time))

    def _tell_end(self, event: Event, life: Life) -> None:
        if event.step is not None and event.rank is not None:
            life.last_step = event.step
        match event:
            case schema.WorkerStalledEvent():
                life.why = f"no sign of life for {event.seconds:.3g} s"
            case schema.RunHaltedEvent():
                life.ended, life.how, life.why = event.time, "halted", event.reason
            case schema.RunFinishedEvent():
                life.ended, life.how, life.why = event.time, str(event.status), event.summary.reason
            case schema.WorkerExitedEvent():
                orderly = event.classification in schema.ORDERLY_EXITS
                beside = event.signal or (None if event.exit_code in (0, None) else f"exit code {event.exit_code}")
                life.ended, life.orderly = event.time, orderly
                if not orderly or life.how is None:
                    life.how = str(event.classification) + (f" ({beside})" if beside else "")
                life.why = last_line(event.reason) or life.why
