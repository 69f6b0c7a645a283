"""MLflow: a run in a local file store."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from pathlib import Path
from typing import Any

# It asks for this before it writes files; a database would need one more package.
os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")

from mlflow import MlflowClient
from mlflow.entities import Metric, RunTag

from supervisor.display import in_one_line, visible, writable
from supervisor.events import schema
from supervisor.events.schema import Event
from supervisor.sinks.base import AboutRun, Memory
from supervisor.sinks.incidents import Incident, IncidentSink
from supervisor.sinks.scalars import scalars_of

__all__ = ["MlflowSink", "metric_name"]

_MOST_AT_ONCE = 1000
_LONGEST_NAME = 200
_UNFIT = re.compile(r"[^\w\-. :]", re.ASCII)
_STATES = {
    schema.RunStatus.FINISHED: "FINISHED",
    schema.RunStatus.HALTED: "FAILED",
    schema.RunStatus.UNSAVED: "FAILED",
    schema.RunStatus.INTERRUPTED: "KILLED",
}


class MlflowSink(IncidentSink):
    """Logs metrics at their steps, and each incident as a text among the artifacts.

    A resume goes on in the same run. MLflow takes nothing back: what a resume does again stands there twice, with the
    same numbers.

    Args:
        about: the run.
        directory: the store.
        experiment: the experiment that the run belongs to.
    """

    patience_seconds = 10.0

    def __init__(self, about: AboutRun, directory: Path, experiment: str) -> None:
        super().__init__()
        self._about = about
        self._directory = directory
        self._experiment = experiment
        self._client: MlflowClient | None = None
        self._run = ""
        self._waiting: list[Metric] = []

    def open(self, memory: Memory) -> str | None:
        """Begin the run, or go on with the one of an earlier process."""
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        self._directory.mkdir(parents=True, exist_ok=True)
        client = self._client = MlflowClient(tracking_uri=self._directory.absolute().as_uri())
        self._run = memory.get("run", "")
        if not self._run or not any(self._directory.glob(f"*/{self._run}")):
            found = client.get_experiment_by_name(self._experiment)
            experiment = client.create_experiment(self._experiment) if found is None else found.experiment_id
            tags = {"supervisor.run_id": self._about.run_id, "supervisor.run_dir": writable(str(self._about.run_dir))}
            name = visible(writable(self._about.name))
            self._run = client.create_run(experiment, tags=tags, run_name=name).info.run_id
        client.update_run(self._run, status="RUNNING")
        return None

    def hand_on(self, event: Event, ended: Incident | None) -> None:
        """Log the numbers of a step or an evaluation, or an incident that is over."""
        match event:
            case schema.StepEvent():
                self._log(scalars_of(event), event)
            case schema.MetricsEvent():
                names = {f"metrics.{metric_name(name)}": value for name, value in event.metrics.items()}
                self._log(names, event)
            case schema.RunFinishedEvent():
                self._end(event.status)
            case schema.RunHaltedEvent():
                self._end(schema.RunStatus.HALTED)
        if ended is not None:
            text = "\n".join(visible(writable(line)) for line in ended.lines())
            self._ready.log_text(self._run, text + "\n", f"incidents/{ended.number:04d}.txt")
            self._log({"incidents": self._incidents.count}, event)

    def flush(self) -> Memory:
        """Write what waits; which run it is."""
        for start in range(0, len(self._waiting), _MOST_AT_ONCE):
            self._ready.log_batch(self._run, metrics=self._waiting[start : start + _MOST_AT_ONCE])
        self._waiting.clear()
        return {"run": self._run}

    @property
    def _ready(self) -> Any:
        return self._client

    def _log(self, numbers: dict[str, float], event: Event) -> None:
        at = int(event.time.timestamp() * 1000)
        self._waiting += [Metric(name, float(value), at, event.step or 0) for name, value in numbers.items()]

    def _end(self, status: schema.RunStatus) -> None:
        self.flush()
        self._ready.log_batch(self._run, tags=[RunTag("supervisor.status", in_one_line(status.value))])
        self._ready.set_terminated(self._run, _STATES[status])


def metric_name(name: str) -> str:
    """A name in the characters that MLflow takes; one that had to be changed ends in a mark, so that two stay two."""
    plain = _UNFIT.sub("_", name)[:_LONGEST_NAME].strip(" .") or "_"
    if plain == name:
        return name
    return f"{plain}-{hashlib.sha256(writable(name).encode()).hexdigest()[:6]}"
