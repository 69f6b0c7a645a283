"""A tiny run that takes states of itself, step by step, with no loop around it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from supervisor.checkpoints import CheckpointStore
from supervisor.record.run_ledger import RunLedger
from supervisor.records import Observation
from supervisor.states import CheckpointParts, GoodStates, RestorePoints, StateTaker
from supervisor.testing.clock import FakeClock
from supervisor.testing.events import EventList
from supervisor.testing.tiny import TinyTrainer
from supervisor.training.data_cursor import DataCursor
from support.parts import check_of, log_to, policy_of, subject_of

__all__ = ["Note", "Run"]

POLICY: dict[str, Any] = {
    "detect": {"state_every_steps": 7},
    "snapshot": {"every_steps": 2, "keep": 3},
    "checkpoint": {"every_steps": 3, "keep": 3},
    "probation_steps": 1,
}


class Note:
    """Registered state of the user's."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def state_dict(self) -> Any:
        return {"held": self.held}

    def load_state_dict(self, state: Any) -> None:
        self.held = state["held"]


class Run:
    def __init__(self, folder: Path | None = None, note: Any = None, **changes: Any) -> None:
        self.trainer, self.heard, self.clock = TinyTrainer(), EventList(), FakeClock()
        policy, log = policy_of(**{**POLICY, **changes}), log_to(self.heard)
        self.note = Note(note)
        subject = subject_of(self.trainer, {"note": self.note})
        self.store = None if folder is None else CheckpointStore(folder / "checkpoints", "run", FakeClock())
        self.states = GoodStates(policy, self.store, log)
        self.cursor = DataCursor(self.trainer.data)
        self.ledger = RunLedger(policy, FakeClock())
        points = RestorePoints(subject, self.cursor, self.ledger, self.states.spares)
        parts = CheckpointParts(panel=Note("a window"))
        self.taker = StateTaker(policy, check_of(subject), points, self.states, parts, log)
        self.check, self.policy = check_of(subject), policy

    def step(self, times: int = 1, *, known_finite: bool = True) -> None:
        for _ in range(times):
            self.cursor.next()
            place = self.ledger.begin(self.cursor.batch_number)
            self.ledger.applied(Observation(place.step, place.update, 1.0, 1.0))
            self.states.healthy_step(place.step, place.update)
            self.taker.take_due(known_finite=known_finite)
        self.states.flush()

    def poison(self) -> None:
        with torch.no_grad():
            self.trainer.model.get_parameter("outer.bias")[0] = math.nan

    def in_memory(self) -> list[tuple[int, bool]]:
        return [(kept.step, kept.good) for kept, _ in self.states.memory]

    def on_disk(self) -> list[tuple[int, bool]]:
        return sorted((info.step, info.good) for info in ([] if self.store is None else self.store.committed()))
