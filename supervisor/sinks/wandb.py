"""Weights & Biases, offline: a run whose folder `wandb sync` uploads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import wandb

from supervisor.display import visible, writable
from supervisor.events import schema
from supervisor.events.schema import Event
from supervisor.sinks.base import AboutRun, Memory
from supervisor.sinks.incidents import Incident, IncidentSink
from supervisor.sinks.scalars import scalars_of

__all__ = ["WandbSink"]

_COLUMNS: list[str | int] = ["incident", "step", "signals", "outcome", "story"]


class WandbSink(IncidentSink):
    """Writes an offline run, one folder for each process, all of the same id: uploaded they are one run.

    The history counts updates, so that what a resume does again, with the same numbers, does not come twice.

    Args:
        about: the run.
        directory: where `wandb/` lies.
        project: the project that the run belongs to.
    """

    patience_seconds = 30.0

    def __init__(self, about: AboutRun, directory: Path, project: str) -> None:
        super().__init__()
        self._about = about
        self._directory = directory
        self._project = project
        self._run: Any = None

    def open(self, memory: Memory) -> str | None:
        """Begin, or go on with, the run."""
        self._directory.mkdir(parents=True, exist_ok=True)
        # Neither the machine nor the user's code is looked into: only what the log says is written.
        settings = wandb.Settings(
            silent=True,
            console="off",
            disable_code=True,
            disable_git=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        self._run = wandb.init(
            project=self._project,
            name=visible(writable(self._about.name))[:128],
            id=self._about.run_id,
            dir=str(self._directory),
            mode="offline",
            settings=settings,
        )
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        return None

    def hand_on(self, event: Event, ended: Incident | None) -> None:
        """Log the numbers of a step or an evaluation; sum incidents up."""
        match event:
            case schema.StepEvent():
                self._log({"step": event.step, **scalars_of(event)}, event)
            case schema.MetricsEvent():
                named = {f"metrics/{writable(name)}": value for name, value in event.metrics.items()}
                # It is in the row of the last step before it.
                self._log({"step": (event.step or 1) - 1, **named}, event)
            case schema.RunStartedEvent():
                self._run.config.update(
                    {"trainer": event.trainer, "seed": event.seed, "device": event.device}, allow_val_change=True
                )
            case schema.RunFinishedEvent():
                self._run.summary["status"] = event.status.value
                self._run.summary["goodput"] = event.summary.goodput
            case schema.RunHaltedEvent():
                self._run.summary["status"] = "halted"
        if ended is not None or isinstance(event, schema.IncidentOpenedEvent):
            self._run.summary["incidents"] = self._incidents.count

    def close(self) -> None:
        """Write the table of incidents, and end the run."""
        rows = [
            [
                incident.number,
                incident.opened.step,
                ", ".join(incident.signals),
                incident.outcome.value,
                visible(writable("\n".join(incident.lines()))),
            ]
            for incident in self._incidents.all
        ]
        if rows:
            self._run.log({"incident_table": wandb.Table(columns=_COLUMNS, data=rows)})
        self._run.finish()
        # Its own process writes the file, and is not done when that returns.
        wandb.teardown()

    def _log(self, numbers: dict[str, Any], event: Event) -> None:
        self._run.log(numbers, step=event.update)
