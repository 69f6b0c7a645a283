"""`status` looks into few lines of a long log, and tells what all of them tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.events import schema
from supervisor.events.event_file import EventFile
from supervisor.events.reader import merged
from supervisor.events.writer import EventLog
from supervisor.records import ActionName, SignalName
from supervisor.report.run_facts import RunFacts
from supervisor.report.run_status import Status
from supervisor.report.status import as_it_is_on_disk, read_status
from supervisor.run_layout import RunLayout
from supervisor.testing.clock import FakeClock

SECONDS = 0.01
"""Each line is so long after the one before, and each step takes as long: within a row no step is like another else."""

HAPPENS = st.one_of(
    st.tuples(st.just("steps"), st.integers(1, 30)),
    st.tuples(st.sampled_from(["checkpoint", "warning", "skip", "reload", "evaluation"]), st.just(0)),
    st.tuples(st.sampled_from(["killed", "stopped"]), st.integers(0, 40)),
)


class Run:
    """Writes the log of a run."""

    def __init__(self, run_dir: Path) -> None:
        clock = FakeClock(tick_seconds=SECONDS)
        self.parent = EventLog(run_dir / "events" / "supervisor.jsonl", "run", None, clock)
        self.run_dir, self.clock = run_dir, clock
        self.step = self.update = self.incident = 0
        self.applied = 0.0
        self.begin()

    def begin(self, back: int | None = None) -> None:
        self.parent.emit(schema.WorkerStartedEvent(pid=7, steps=10_000))
        self.worker = EventLog(self.run_dir / "events" / "rank0.jsonl", "run", 0, self.clock)
        self.applied = 0.0
        if back is None:
            self.worker.emit(schema.RunStartedEvent(steps=10_000))
            return
        lost = min(back, self.step, self.update)
        self.step, self.update = self.step - lost, self.update - lost
        self.worker.emit(schema.RunResumedEvent(checkpoint_step=self.step, update=self.update))

    def happens(self, what: str, count: int) -> None:
        at: dict[str, Any] = {"step": self.step, "update": self.update}
        match what:
            case "steps":
                for _ in range(count):
                    self.one_step()
            case "checkpoint":
                path = f"checkpoints/step-{self.step:08d}"
                self.worker.emit(schema.CheckpointSavedEvent(checkpoint_step=self.step, path=path))
            case "warning":
                self.worker.emit(schema.WarningEvent(message="slow", **at))
            case "evaluation":
                self.worker.emit(schema.MetricsEvent(metrics={"mrr": 0.5}, seconds=SECONDS, **at))
            case "skip" | "reload":
                self.flag(at, None if what == "skip" else max(0, self.step - 5))
            case "killed" | "stopped":
                how = schema.ExitClassification.KILLED if what == "killed" else schema.ExitClassification.INTERRUPTED
                self.parent.emit(schema.WorkerExitedEvent(pid=7, exit_code=None, signal=None, classification=how))
                self.begin(count if what == "killed" else 0)

    def one_step(self) -> None:
        self.applied += SECONDS
        self.worker.emit(
            schema.StepEvent(
                step=self.step,
                update=self.update,
                loss=1 / (1 + self.update),
                grad_norm=1.0,
                lr=0.1,
                lr_scale=1.0,
                step_seconds=SECONDS,
                applied_seconds=self.applied,
                states_seconds=0.0,
            )
        )
        self.step, self.update = self.step + 1, self.update + 1

    def flag(self, at: dict[str, Any], restored: int | None) -> None:
        self.incident += 1
        action = ActionName.SKIP_BATCH if restored is None else ActionName.RELOAD_CHECKPOINT
        number = {"incident": self.incident, **at}
        self.worker.emit(schema.SignalEvent(signal=SignalName.NONFINITE_LOSS, **at))
        self.worker.emit(schema.IncidentOpenedEvent(signals=(SignalName.NONFINITE_LOSS,), **number))
        self.worker.emit(schema.DecisionEvent(rung=0, action=action, attempt=1, reason="", **number))
        self.worker.emit(schema.ActionAppliedEvent(action=action, seconds=0.0, restored_step=restored, **number))
        self.step, self.update = self.step + 1 if restored is None else restored, self.update + 1


def whole(run_dir: Path) -> Status:
    facts = RunFacts()
    for event, void in merged([EventFile(path, with_void=True) for path in RunLayout(run_dir).event_files()]):
        facts.tell(event, void=void)
    return as_it_is_on_disk(facts, run_dir)


@given(st.lists(HAPPENS, max_size=15))
@settings(max_examples=60, deadline=None)
def test_status_is_that_of_the_whole_reading(
    tmp_path_factory: pytest.TempPathFactory, happened: list[tuple[str, int]]
) -> None:
    run_dir = tmp_path_factory.mktemp("run")
    run = Run(run_dir)
    for what, count in happened:
        run.happens(what, count)
    expected, found = whole(run_dir).model_dump(), read_status(run_dir).model_dump()
    estimated = ("account", "goodput")
    for name in ("seconds", "mttr_seconds", *estimated):
        told, wanted = found.pop(name), expected.pop(name)
        # What a reload goes back over takes its share of the row that it cuts, which holds more steps or fewer.
        if name not in estimated or not {"reload", "skip"} & {what for what, _ in happened}:
            assert told == pytest.approx(wanted, abs=1e-6), name
    assert found == expected
