"""`RecoveryPolicy`: everything the user decides about detection and recovery."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from supervisor.config.section import Conflict, Count, FormatVersion, Seconds, Section, Steps, conflict, conflict_error
from supervisor.policy.detection import Detection
from supervisor.policy.experiments import Experiments, ShiftAnswer
from supervisor.policy.ladder import DEFAULT_LADDER, AnyRung, HaltRung, Rung
from supervisor.policy.reactions import SETUP_SIGNALS, Reaction, Reactions
from supervisor.records import CauseKind, Signal, SignalName

__all__ = [
    "CheckpointSettings",
    "DiagnosisSettings",
    "GradientClip",
    "RecoveryPolicy",
    "RestartSettings",
    "SnapshotSettings",
]


class GradientClip(Section):
    """Clipping of the total gradient norm, applied after the inspection."""

    max_norm: Annotated[float, Field(strict=True, gt=0, le=1e9, allow_inf_nan=False)] = 1.0
    """Gradients with a larger total L2 norm are scaled down to it."""


class CheckpointSettings(Section):
    """Durable states on disk."""

    every_steps: Steps = 200
    """Steps between two checkpoints."""
    keep: Count = 3
    """How many good ones are kept; those on probation stay until they are judged."""
    last_save_seconds: Annotated[float, Field(strict=True, ge=0, le=86400, allow_inf_nan=False)] = 60.0
    """How long the last checkpoint of a run is tried again where the disk refuses it. Then the run ends unsaved."""


class SnapshotSettings(Section):
    """States in memory: cheap to take, gone when the process ends."""

    every_steps: Steps = 20
    """Steps between two snapshots."""
    keep: Annotated[int, Field(strict=True, ge=0, le=1000)] = 3
    """How many good ones are kept, each as large as the model and its optimizer state; 0: take none."""


class DiagnosisSettings(Section):
    """How far a flagged step is looked into: it is run again from the state before it, never on the healthy path."""

    enabled: Annotated[bool, Field(strict=True)] = True
    """Whether causes are looked for at all."""
    max_seconds: Annotated[float, Field(strict=True, gt=0, le=3600, allow_inf_nan=False)] = 30.0
    """Wall time that one diagnosis may take; then the cause stays unknown."""
    max_replays: Annotated[int, Field(strict=True, ge=2, le=10_000)] = 24
    """How often a step may be run again to find its cause, over all flagged steps of an incident."""
    quarantine: Annotated[bool, Field(strict=True)] = True
    """Whether samples that are found to be at fault are left out from then on, where the data give their indices."""
    max_bundle_mb: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 64
    """Largest size of an incident's bundle (batch and state) on disk, in mebibytes; 0: none is written."""
    keep_bundles: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 20
    """How many incidents keep their bundle, the newest ones; their records are all kept."""


class RestartSettings(Section):
    """How often, and how fast, a worker process that died is started again."""

    max_restarts: Annotated[int, Field(strict=True, ge=0, le=10_000)] = 5
    """Restarts allowed within the window; one more ends the run."""
    window_seconds: Seconds = 600.0
    """Length of the sliding window, in seconds."""
    backoff_initial_seconds: Annotated[float, Field(strict=True, ge=0, le=86_400, allow_inf_nan=False)] = 1.0
    """Pause before the first restart; it doubles each time."""
    backoff_max_seconds: Annotated[float, Field(strict=True, ge=0, le=86_400, allow_inf_nan=False)] = 60.0
    """The longest pause."""
    startup_timeout_seconds: Seconds = 300.0
    """How long a worker may take to the end of its first step, and an evaluation."""
    stall_timeout_seconds: Seconds = 300.0
    """How long a worker may be silent after that."""

    @model_validator(mode="after")
    def _backoff_grows(self) -> Self:
        first, longest = self.backoff_initial_seconds, self.backoff_max_seconds
        if first > longest:
            what = f"the first pause ({first:g} s) is longer than the longest one ({longest:g} s)"
            fix = f"write at most `backoff_initial_seconds: {longest:g}`, or a larger `backoff_max_seconds`"
            raise conflict(what, fix, "backoff_initial_seconds", "backoff_max_seconds")
        return self


class RecoveryPolicy(Section):
    """What to detect, and what to do about it. `RecoveryPolicy()` is the built-in default.

    A policy is always resolved: its ladder ends in `halt`, and a default reaction to a rung that the ladder
    lacks is None. A wrong value raises `pydantic.ValidationError` here; `load_policy` raises `InputError`.
    """

    version: FormatVersion = 1
    """Version of this file format."""
    detect: Detection = Detection()
    """What is looked for, and how often."""
    gradient_clip: GradientClip | None = None
    """Clipping of healthy gradients; null: none."""
    ladder: Annotated[tuple[Rung, ...], Field(max_length=100)] = DEFAULT_LADDER
    """The recovery actions, from the lowest rung to the highest. Without a last `halt`, one is added."""
    reactions: Annotated[Reactions, Field(validate_default=True)] = Reactions()
    """Where each signal, and each kind of cause, enters the ladder."""
    cooldown_steps: Steps = 20
    """Healthy steps in a row that close an incident."""
    checkpoint: CheckpointSettings = CheckpointSettings()
    """Durable states on disk."""
    snapshot: SnapshotSettings = SnapshotSettings()
    """States in memory."""
    probation_steps: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 20
    """Healthy steps in a row that must follow a state before it counts as good."""
    diagnose: DiagnosisSettings = DiagnosisSettings()
    """How far flagged steps are looked into."""
    experiments: Experiments | None = Experiments()
    """What may be computed only to decide; null: off, and the ladder climbs by counting alone."""
    restart: RestartSettings = RestartSettings()
    """What happens when the worker process dies."""

    @field_validator("ladder", mode="after")
    @classmethod
    def _ends_in_halt(cls, ladder: tuple[AnyRung, ...]) -> tuple[AnyRung, ...]:
        early = [index for index, rung in enumerate(ladder[:-1]) if isinstance(rung, HaltRung)]
        if early:
            what = "the rungs after `halt` can never be reached"
            raise conflict_error(*(Conflict(what, "write `halt` as the last rung", (f"{i}",)) for i in early))
        return ladder if ladder and isinstance(ladder[-1], HaltRung) else (*ladder, HaltRung())

    @field_validator("reactions", mode="after")
    @classmethod
    def _reactions_name_rungs(cls, reactions: Reactions, info: ValidationInfo) -> Reactions:
        ladder: tuple[AnyRung, ...] | None = info.data.get("ladder")
        if ladder is None:  # it is wrong itself, and that is reported already
            return reactions
        actions = list(dict.fromkeys(rung.action for rung in ladder))
        applicable: dict[str, Reaction | None] = dict(reactions)
        conflicts = []
        for signal, reaction in dict(applicable).items():
            action = reaction.action if reaction else None
            if action is None or action in actions:
                continue
            applicable[signal] = None
            if signal in reactions.model_fields_set:
                what = f"the ladder has no {action.value} rung"
                fix = f"write one of: {', '.join(actions)}; or add `action: {action.value}` to the ladder"
                conflicts.append(Conflict(what, fix, (signal,)))
        if conflicts:
            raise conflict_error(*conflicts)
        # Keeps the record of what was written, which decides whether a reaction is a default.
        return Reactions.model_construct(_fields_set=set(reactions.model_fields_set), **applicable)

    @model_validator(mode="after")
    def _experiments_have_what_they_need(self) -> Self:
        settings = self.experiments
        if settings is None:
            return self
        conflicts = []
        if self.detect.spike is None and settings.suspect_score != Experiments().suspect_score:
            fix = "remove `suspect_score`, or write what `detect.spike` is to be instead of null"
            keys = ("experiments.suspect_score", "detect.spike")
            conflicts.append(Conflict("nothing is given a score where `detect.spike` is null", fix, keys))
        if self.snapshot.keep == 0 and settings.shift.then is ShiftAnswer.HALT:
            what = "without snapshots there is no state from before a change of the data to halt in"
            fix = "write `snapshot: {keep: 1}` or more, or `then: accept`"
            conflicts.append(Conflict(what, fix, ("experiments.shift.then", "snapshot.keep")))
        if conflicts:
            raise conflict_error(*conflicts)
        return self

    def observes(self, signal: SignalName) -> bool:
        """True where the signal is only logged: no incident opens and the step counts as healthy."""
        reaction = self.reactions.of(signal)
        return reaction is Reaction.OBSERVE or (reaction is None and signal in SETUP_SIGNALS)

    def acted_on(self, signals: Iterable[Signal]) -> tuple[Signal, ...]:
        """The findings that flag an update; those that are only observed do not."""
        return tuple(signal for signal in signals if not self.observes(signal.name))

    @property
    def retries(self) -> bool:
        """Whether a batch whose fault could not be reproduced comes again."""
        return self.reactions.not_reproducible is Reaction.RETRY

    def reaction_rung(self, found: SignalName | CauseKind) -> int:
        """Index of the rung where a signal or a cause enters the ladder: the first with the action that is named.

        0, the lowest rung, where `reactions` names none, and for signals that are only observed.
        """
        reaction = self.reactions.of(found)
        if reaction is None or reaction.action is None:
            return 0
        return next(index for index, rung in enumerate(self.ladder) if rung.action is reaction.action)
