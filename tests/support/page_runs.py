"""Run directories as a page draws them, written event by event, with whatever names and texts a test wants in them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from supervisor.events import schema
from supervisor.events.incident_file import IncidentFile, ProcessIncident
from supervisor.events.schema import ExitClassification, KnownEvent
from supervisor.events.writer import EventLog
from supervisor.evidence import Blame, Evidence
from supervisor.policy import RecoveryPolicy
from supervisor.policy.load import resolved_yaml
from supervisor.records import ActionName, SignalName
from supervisor.run_layout import RunLayout
from supervisor.testing.clock import FakeClock

__all__ = ["HOSTILE", "SECRETS", "PageRun", "eventful"]

HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)> \"'`&amp;&lt; "
    "<b>bold</b><br><a href='javascript:alert(3)'>x</a> %{y} {{ 7*7 }} ${1} $x$ \x1b[31m\x00\x07 "
    "\u202eevil\u202c \u2028\u2029 \ufeff 🧨👩‍🚀 \U0001f1e9\U0001f1ea --> ]]> \ud800"
)
"""A text that holds what a browser, a template, a chart or a terminal could take for an order."""

SECRETS = ("https://hooks.example/T000/B000/XXXX", "Bearer abc.def.ghi", "s3cr3t-token", "u:p4ssw0rd")

JOB = f"""
version: 1
trainer: mine:Trainer
steps: 100
config: {{width: 8, max_tokens: 512, password: {SECRETS[2]}}}
sinks:
  webhook: {{url: "{SECRETS[0]}", headers: {{Authorization: "{SECRETS[1]}"}}, url_env: HOOK, on: [run_halted]}}
  opentelemetry: {{endpoint: "http://{SECRETS[3]}@host:4318", token: "{SECRETS[2]}"}}
"""


class PageRun:
    """Writes a run directory.

    Args:
        run_dir: where.
        run_id: what the run is called.
    """

    def __init__(self, run_dir: Path, run_id: str = "run-1") -> None:
        self.layout = RunLayout(run_dir)
        self.clock = FakeClock(datetime(2026, 1, 1, tzinfo=UTC), tick_seconds=0.25)
        self._run_id = run_id
        self._parent = EventLog(self.layout.parent_events, run_id, None, self.clock)
        self._worker = EventLog(self.layout.rank_events, run_id, 0, self.clock)

    def worker(self, *events: KnownEvent) -> None:
        """Lines of rank 0."""
        for event in events:
            self._worker.emit(event)

    def parent(self, *events: KnownEvent) -> None:
        """Lines of the parent; a worker that it starts is another process."""
        for event in events:
            self._parent.emit(event)
            if isinstance(event, schema.WorkerStartedEvent):
                self._worker = EventLog(self.layout.rank_events, self._run_id, 0, self.clock)

    def rank(self, number: int, *events: KnownEvent) -> None:
        """Lines of another rank."""
        log = EventLog(RunLayout(self.layout.root, number).rank_events, self._run_id, number, self.clock)
        for event in events:
            log.emit(event)

    def steps(self, steps: Iterable[int], loss: float | None = None, *, first_update: int | None = None) -> None:
        """A `step` line for each."""
        for count, step in enumerate(steps):
            update = step if first_update is None else first_update + count
            value = 2.0 / (1 + step) + 0.1 if loss is None else loss
            self.worker(step_event(step, update, value))

    def incident(self, number: int, step: int, text: str = "", action: ActionName = ActionName.SKIP_BATCH) -> None:
        """One that opens, is experimented on, decided, acted on and closed; with its record."""
        place = {"step": step, "update": step}
        rung = [*ActionName].index(action)
        evidence = Evidence(Blame.DATA, "canaries unharmed")
        reason = f"nonfinite_loss opens incident {number} {text}"
        self.worker(
            schema.SignalEvent.model_validate(
                {**place, "signal": "nonfinite_loss", "loss": math.nan, "tensors": (text,)}
            ),
            schema.ExperimentEvent(
                **place, kind="canaries", batches=2, before=1.25, after=1.5, verdict="unharmed", why=text, seconds=0.5
            ),
            schema.IncidentOpenedEvent(**place, incident=number, signals=(SignalName.NONFINITE_LOSS,)),
            schema.DecisionEvent(
                **place, incident=number, rung=rung, action=action, attempt=1, reason=reason, evidence=evidence
            ),
            schema.ActionAppliedEvent(**place, incident=number, action=action, seconds=0.1),
        )
        closed = {"step": step + 5, "update": step + 5}
        self.worker(schema.IncidentClosedEvent(**closed, incident=number, cured_by=action, steps_lost=1, seconds=2.0))
        self.record(number, step, text, action)

    def reload(self, number: int, step: int, update: int, restored: int) -> None:
        """One that is answered by going back, and is not closed; with its record."""
        place = {"step": step, "update": update, "incident": number}
        action = ActionName.RELOAD_CHECKPOINT
        self.worker(
            schema.IncidentOpenedEvent(**place, signals=(SignalName.NONFINITE_PARAMETER,)),
            schema.DecisionEvent(**place, rung=2, action=action, attempt=1, reason="the state itself is not finite"),
            schema.ActionAppliedEvent(
                **place, action=action, seconds=1.0, restored_step=restored, restored_from="memory"
            ),
        )
        self.record(number, step, "", action)

    def record(self, number: int, step: int, text: str = "", action: ActionName = ActionName.SKIP_BATCH) -> None:
        """Its `incident.json`."""
        decision = {"incident": number, "rung": 0, "action": action, "attempt": 1, "reason": f"for {text}"}
        cause = {"kind": "nonfinite_activation", "explanation": f"the output {text}", "step": step, "update": step}
        record = IncidentFile.model_validate(
            {
                "id": number,
                "opened_at_step": step,
                "closed_at_step": step + 5,
                "signals": ["nonfinite_loss"],
                "decisions": [decision],
                "outcome": "recovered",
                "cured_by": action,
                "cost": {"steps_lost": 1, "seconds": 2.0},
                "cause": {**cause, "module": f"block{text}", "where": f"mine{text}.py:3"},
                "traceback": f"Traceback\n  File mine.py\nValueError: {text}",
            }
        )
        folder = self.layout.incident(number)
        folder.mkdir(parents=True)
        (folder / "incident.json").write_text(record.model_dump_json(indent=2), encoding="utf-8")

    def dies(self, text: str = "", number: int = 1) -> None:
        """The worker is killed, and a record says so."""
        exited = schema.WorkerExitedEvent(
            pid=7, exit_code=None, signal="SIGKILL", classification=ExitClassification.KILLED, reason=text or None
        )
        self.parent(exited)
        folder = self.layout.process_incident(number)
        folder.mkdir(parents=True)
        record = ProcessIncident(
            time=self.clock.now(),
            classification=ExitClassification.KILLED,
            exit_code=None,
            signal="SIGKILL",
            reason=text or None,
            stacks=None,
        )
        (folder / "incident.json").write_text(record.model_dump_json(), encoding="utf-8")

    def settings(self) -> None:
        """A job with secrets, and a policy."""
        self.layout.job.write_text(JOB, encoding="utf-8")
        self.layout.policy.write_text(resolved_yaml(RecoveryPolicy()), encoding="utf-8")


def step_event(step: int, update: int, loss: float, **more: float) -> schema.StepEvent:
    """A `step` line."""
    values = {"grad_norm": 2.0 + loss, "lr": 0.01, "lr_scale": 1.0, "step_seconds": 0.05, **more}
    return schema.StepEvent(step=step, update=update, loss=loss, **values)


def eventful(run_dir: Path, text: str = "", run_id: str = "run-1") -> PageRun:
    """A run with an incident, values that are not finite, a reload, a death, a resume and checkpoints; it goes on.

    Args:
        run_dir: where.
        text: stands wherever a run may hold a text of others.
        run_id: what it is called.
    """
    run = PageRun(run_dir, run_id)
    run.parent(schema.WorkerStartedEvent(pid=7, steps=100))
    path = "checkpoints/step-00000000"
    run.worker(
        schema.RunStartedEvent(steps=100, seed=1, trainer="mine:Trainer"),
        schema.CheckpointSavedEvent(step=0, checkpoint_step=0, path=path),
        schema.CheckpointPromotedEvent(step=0, checkpoint_step=0, path=path),
    )
    run.steps(range(10))
    run.incident(1, 10, text)
    run.steps([11, 12])
    run.steps([13, 14], loss=math.nan)
    run.steps([15], loss=math.inf)
    run.steps(range(16, 30))
    place = {"step": 30, "update": 30, "incident": 2}
    run.worker(
        schema.SignalEvent.model_validate(
            {"step": 30, "update": 30, "signal": "nonfinite_parameter", "names": (text,)}
        ),
        schema.IncidentOpenedEvent(**place, signals=(SignalName.NONFINITE_PARAMETER,)),
        schema.DecisionEvent(**place, rung=2, action=ActionName.RELOAD_CHECKPOINT, attempt=1, reason=f"poison {text}"),
        schema.ActionAppliedEvent(
            **place, action=ActionName.RELOAD_CHECKPOINT, seconds=1.0, restored_step=20, restored_from="memory"
        ),
    )
    run.record(2, 30, text, ActionName.RELOAD_CHECKPOINT)
    run.steps(range(20, 40), first_update=31)
    run.worker(
        schema.CheckpointSavedEvent(step=40, update=50, checkpoint_step=40, path="checkpoints/step-00000040"),
        schema.WarningEvent(message=f"beware {text}"),
        schema.MetricsEvent(step=40, update=50, metrics={f"mrr{text}": 0.5}),
    )
    run.steps(range(40, 45), first_update=51)
    run.dies(f"ValueError: {text}" if text else "")
    run.parent(schema.WorkerStartedEvent(pid=8, restarts=1, steps=100))
    run.worker(
        schema.CheckpointRejectedEvent(checkpoint_step=44, path="checkpoints/step-00000044", reason=f"torn {text}"),
        schema.RunResumedEvent(step=40, update=51, checkpoint_step=40, path="checkpoints/step-00000040"),
    )
    run.steps(range(40, 60), first_update=51)
    run.settings()
    return run
