"""What the parent tells the worker: one JSON object on its standard input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator

from supervisor.config.origins import Origins
from supervisor.job import Job, ResolvedJob
from supervisor.policy import RecoveryPolicy
from supervisor.run_layout import RunLayout

__all__ = ["WorkerSpec"]


def _parts(origins: Origins) -> tuple[str, list[Any], list[Any]]:
    return origins.name, list(origins.lines.items()), list(origins.flags.items())


def _put_together(value: Any) -> Origins:
    if isinstance(value, Origins):
        return value
    name, *places = value
    return Origins(name, *({tuple(path): place for path, place in each} for each in places))


CarriedOrigins = Annotated[Origins, PlainValidator(_put_together), PlainSerializer(_parts)]
"""Origins whose paths, which cannot be keys in JSON, travel as pairs."""


class WorkerSpec(BaseModel):
    """A job, ready to run.

    Attributes:
        job: the job, flags applied.
        policy: its resolved policy.
        run_dir: absolute path of the run directory.
        faults: absolute path of a fault script, the inline script, or None.
        quarantine: absolute path of a list of samples to leave out, or None.
        origins: where each value of the job was written.
        policy_origins: the same for the policy.
        run_id: the run's name in the events.
        resume: go on from the newest verified checkpoint.
        evaluate: whether the trainer's evaluation may be called; not where it has ended a worker.
        after_halt: where that is of a halted run, go on with a fresh ladder and no cuts of the learning rate.
        one_by_one: rows of the data set, of which one has ended the worker before: to be read one by one.
        shown_by_parent: whether the parent shows the run on a terminal, so that the worker need not tell it.
        changes: settings that are others than when the run was started or resumed last, each with both values.
    """

    model_config = ConfigDict(frozen=True)

    job: Job
    policy: RecoveryPolicy
    run_dir: Path
    faults: str | list[Any] | None
    quarantine: Path | None
    origins: CarriedOrigins
    policy_origins: CarriedOrigins
    run_id: str
    resume: bool
    evaluate: bool = True
    after_halt: bool = False
    shown_by_parent: bool = False
    changes: tuple[str, ...] = ()
    one_by_one: tuple[int | str, ...] = ()

    @classmethod
    def of(
        cls,
        resolved: ResolvedJob,
        *,
        run_id: str,
        resume: bool,
        evaluate: bool = True,
        after_halt: bool = False,
        changes: tuple[str, ...] = (),
        one_by_one: tuple[int | str, ...] = (),
    ) -> WorkerSpec:
        """The spec for a resolved job."""
        return cls(
            # Its sinks are none of the worker's business, and may hold a secret.
            job=resolved.job.model_copy(update={"sinks": None}),
            policy=resolved.policy,
            run_dir=resolved.run_dir,
            faults=str(resolved.faults) if isinstance(resolved.faults, Path) else resolved.faults,
            quarantine=resolved.quarantine,
            origins=resolved.origins,
            policy_origins=resolved.policy_origins,
            run_id=run_id,
            resume=resume,
            evaluate=evaluate,
            after_halt=after_halt,
            changes=changes,
            one_by_one=one_by_one,
        )

    def to_line(self) -> bytes:
        """The line that it travels as: ASCII, in which a path that is not UTF-8 stays what it is."""
        return json.dumps(self.model_dump(mode="json")).encode("ascii") + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> WorkerSpec:
        """The inverse."""
        return cls.model_validate(json.loads(line))

    @property
    def layout(self) -> RunLayout:
        """The paths of the run directory."""
        return RunLayout(self.run_dir)
