"""What the engine remembers between updates: plain frozen data that a checkpoint can carry."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from supervisor.records import ActionName, Incident

__all__ = ["BadBatches", "Closed", "EngineState", "LearningRateCut", "OpenIncident"]


@dataclass(frozen=True, slots=True)
class LearningRateCut:
    """One cut of the learning rate in force.

    Attributes:
        incident: the incident it was made in.
        rung: the rung that made it.
        factor: what the learning rate is multiplied by, in (0, 1).
        healthy_steps_left: healthy steps until it is taken back.
    """

    incident: int
    rung: int
    factor: float
    healthy_steps_left: int


@dataclass(frozen=True, slots=True)
class OpenIncident:
    """The incident being treated.

    Attributes:
        id: its number, from 1.
        rung: the rung used last; the next flagged update starts from here.
        attempts: how often each rung was used in this incident (a failed action counts as all of them).
        healthy_steps: healthy steps in a row since the last flagged update.
        retried: whether a batch came again in it already.
        excused: flagged updates in it that the data or the machine are to blame for: they spend no rung.
        record: what was seen and done in it. The engine hands it on and never reads it.
    """

    id: int
    rung: int
    attempts: tuple[int, ...]
    healthy_steps: int = 0
    retried: bool = False
    excused: int = 0
    record: Incident | None = None


@dataclass(frozen=True, slots=True)
class Closed:
    """What ended with a healthy step: an incident cured, or learning-rate cuts taken back.

    Attributes:
        incident: number of the incident that closed, None when none did.
        cured_by: the action used last in it.
        cuts_taken_back: how many learning-rate cuts ended with this step.
    """

    incident: int | None = None
    cured_by: ActionName | None = None
    cuts_taken_back: int = 0


@dataclass(frozen=True, slots=True)
class BadBatches:
    """The batches that were discarded although the state is sound.

    Attributes:
        recent: the clock readings that the policy's window still covers, each with how many batches were bad then.
        in_a_row: bad batches since the last healthy update.
        since: the clock reading of the first of them.
        total: all of them so far.
        retried: number of the batch that came again last, None before the first.
    """

    recent: tuple[tuple[int, int], ...] = ()
    in_a_row: int = 0
    since: int = 0
    total: int = 0
    retried: int | None = None


@dataclass(frozen=True, slots=True)
class EngineState:
    """All the engine remembers.

    Attributes:
        clock: updates counted for the sliding windows; replayed batches do not move it.
        incidents: incidents opened so far.
        incident: the open one, if any.
        uses: for each rung, the clock readings of its uses that its limit's window still covers.
        cuts: the learning-rate cuts in force, oldest first.
        furthest_restored_step: the furthest step a run went back to so far, -1 before the first time.
        restores: for each rung, how often it has gone back since then, to that step or further back.
        stepped_since_restore: whether a healthy step has followed since the run last went back.
        bad: the batches that were discarded although the state is sound.
    """

    clock: int = 0
    incidents: int = 0
    incident: OpenIncident | None = None
    uses: tuple[tuple[int, ...], ...] = ()
    cuts: tuple[LearningRateCut, ...] = ()
    furthest_restored_step: int = -1
    restores: tuple[int, ...] = ()
    stepped_since_restore: bool = False
    bad: BadBatches = BadBatches()

    @property
    def lr_scale(self) -> float:
        """Product of the learning-rate cuts in force; exactly 1.0 when there are none."""
        return math.prod((cut.factor for cut in self.cuts), start=1.0)

    @property
    def rung(self) -> int | None:
        """The rung in use, None while no incident is open."""
        return None if self.incident is None else self.incident.rung

    def tick(self, updates: int = 1) -> EngineState:
        """Count more updates."""
        return replace(self, clock=self.clock + updates)

    def restored(self, rung: int, step: int) -> EngineState:
        """Note that `rung` went back to `step`, so that going back without progress can be told apart.

        `supervisor.engine.restored` is this with the cut that a reload without progress makes.
        """
        further = step > self.furthest_restored_step
        before = (0,) * len(self.restores) if further else self.restores
        counts = (*before, *(0,) * (rung + 1 - len(before)))
        return replace(
            self,
            furthest_restored_step=max(step, self.furthest_restored_step),
            restores=(*counts[:rung], counts[rung] + 1, *counts[rung + 1 :]),
            stepped_since_restore=False,
        )

    def for_new_ladder(self) -> EngineState:
        """The state for a changed ladder: cuts and counts stay, the ladder position does not."""
        bad = BadBatches(total=self.bad.total)
        return replace(self, incident=None, uses=(), furthest_restored_step=-1, restores=(), bad=bad)

    def after_halt(self) -> EngineState:
        """The state for a run whose halt was looked into and its cause mended: nothing but the counts stays."""
        return replace(self.for_new_ladder(), cuts=(), stepped_since_restore=False)

    def to_plain(self) -> dict[str, Any]:
        """Nested dictionaries, tuples and numbers for a checkpoint; the record of the open incident is left out."""
        plain = asdict(self)
        if plain["incident"] is not None:
            del plain["incident"]["record"]
        return plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> EngineState:
        """The inverse of `to_plain`.

        Raises:
            KeyError, TypeError: `plain` was not made by `to_plain`.
        """
        incident = plain["incident"]
        return cls(
            clock=plain["clock"],
            incidents=plain["incidents"],
            incident=None
            if incident is None
            else OpenIncident(**{**incident, "attempts": tuple(incident["attempts"])}),
            uses=tuple(tuple(uses) for uses in plain["uses"]),
            cuts=tuple(LearningRateCut(**cut) for cut in plain["cuts"]),
            furthest_restored_step=plain["furthest_restored_step"],
            restores=tuple(plain["restores"]),
            stepped_since_restore=plain["stepped_since_restore"],
            # What an older version wrote has none.
            bad=_bad_batches(plain.get("bad", {})),
        )


def _bad_batches(plain: Mapping[str, Any]) -> BadBatches:
    return BadBatches(**{**plain, "recent": tuple((clock, count) for clock, count in plain.get("recent", ()))})
