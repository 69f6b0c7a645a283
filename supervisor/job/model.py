"""`Job`: the job file, as pydantic reads it."""

from __future__ import annotations

import enum
import keyword
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from supervisor.config.section import FormatVersion, Section, Steps, conflict
from supervisor.job.sinks import Sinks

__all__ = ["BestMode", "Device", "Job", "KeepBest"]


class Device(enum.StrEnum):
    """Where the model is trained."""

    AUTO = "auto"
    """CUDA where there is a CUDA device, else the CPU."""
    CPU = "cpu"
    CUDA = "cuda"


class BestMode(enum.StrEnum):
    """Which value of a metric is the best."""

    MIN = "min"
    """The smallest."""
    MAX = "max"
    """The largest."""


class KeepBest(Section):
    """Which checkpoint is kept, whatever its age: the one on which the trainer's evaluation gave the best value."""

    metric: Annotated[str, Field(strict=True, min_length=1, max_length=200, examples=["mrr"])]
    """Name of a metric that the trainer's `evaluate` gives."""
    mode: Annotated[BestMode, Field(examples=["max"])]
    """Whether its smallest (`min`) or its largest value (`max`) is the best."""


class Job(Section):
    """A job file. The trainer's `config` is not looked into here: the trainer validates it."""

    unknown_key_hint = "; the trainer's own keys belong under `config`"

    version: FormatVersion = 1
    """Version of this file format."""
    trainer: Annotated[str, Field(strict=True, max_length=500, examples=["package.module:TrainerClass"])]
    """`module:Class`, with `from_config(mapping, *, seed)`, which is handed `steps` too where it takes a parameter of
    that name; looked for in the working directory first."""
    config: dict[Any, Any] = Field(default_factory=dict)
    """Handed to the trainer as it is."""
    policy: str | dict[str, Any] | None = None
    """A policy file, relative to the job file, or an inline mapping; null: the built-in default."""
    steps: Annotated[Steps, Field(examples=[2000])]
    """Where the schedule ends, in steps from 0."""
    seed: Annotated[int, Field(strict=True, ge=0, le=2**32 - 1)] = 0
    """Seeds Python, NumPy (hence the upper bound) and torch before the trainer is built."""
    device: Device = Device.AUTO
    """Where the model is trained."""
    run_dir: Annotated[str, Field(strict=True, max_length=4096, examples=["runs/mine"])] = "runs/job"
    """Folder of the run, relative to the working directory; where it is not written, `load_job` fills in
    `runs/` and the job file's name."""
    log_every_steps: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 20
    """Steps between two `step` lines in the event log."""
    evaluate_every_steps: Steps | None = None
    """Steps between two calls of the trainer's `evaluate`, which change nothing of the training; null: it is called at
    the end of the run only."""
    keep_best: KeepBest | None = None
    """The checkpoint to keep beside the newest ones, as `{metric: mrr, mode: max}`; null: none."""
    sinks: Sinks | None = None
    """Where the run is shown beside its log, as `{tensorboard: }`; null: nowhere."""
    observations: Annotated[bool, Field(strict=True)] = False
    """Keep what every update measured in `observations.jsonl`, so that `supervisor replay` can try other detectors."""
    cpu_threads: Annotated[int, Field(strict=True, ge=0, le=1024)] = 1
    """Threads torch computes with on the CPU; small models are fastest with one. 0: torch's own choice."""
    quarantine: Annotated[str, Field(strict=True, max_length=4096)] | None = None
    """Samples to leave out: the `quarantine.jsonl` of an earlier run or the list of `supervisor preflight`, relative to
    the job file; null: none."""
    faults: Any = None
    """Faults to inject: a file relative to the job file, or an inline list; null: none."""

    @field_validator("trainer")
    @classmethod
    def _names_a_class(cls, trainer: str) -> str:
        module, colon, name = trainer.partition(":")
        parts = [*module.split("."), *name.split(".")]
        if not colon or not all(part.isidentifier() and not keyword.iskeyword(part) for part in parts):
            fix = "write `module:Class`, as `package.module:MyTrainer`"
            raise conflict(f'"{trainer[:60]}" does not name a class', fix)
        return trainer

    @field_validator("policy", "faults", mode="wrap")
    @classmethod
    def _path_or_inline(cls, value: Any, _handler: Any, info: ValidationInfo) -> Any:
        kind, noun = (dict, "mapping") if info.field_name == "policy" else (list, "list")
        if value is None or isinstance(value, kind) or (isinstance(value, str) and value.strip()):
            return value
        raise conflict(f"is neither a file nor a {noun}", f"write the path of a {info.field_name} file")

    @field_validator("run_dir", "quarantine")
    @classmethod
    def _usable_as_a_path(cls, path: str | None, info: ValidationInfo) -> str | None:
        if path is not None and (not path.strip() or "\0" in path):
            example = {"run_dir": "a folder, as `run_dir: runs/mine`"}.get(str(info.field_name), "the path of a list")
            raise conflict("is not a path", f"write {example}")
        return path
