"""The guard's side of a diagnosis: when one is due, what it is given, and what becomes of its bundle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from supervisor.clock import Clock
from supervisor.diagnosis import Diagnosis, FlaggedUpdate, diagnose, remove_bundle, write_bundle
from supervisor.events.incident_file import Bundle
from supervisor.guard.update import LossFunction, Update, UpdateRunner
from supervisor.policy import RecoveryPolicy
from supervisor.records import Observation, Signal
from supervisor.signals import Detectors
from supervisor.training.state import Subject, VolatileState
from supervisor.training.tree import clone

__all__ = ["Diagnostician"]


class Diagnostician:
    """Looks into flagged updates.

    Args:
        policy: its bounds.
        subject: the training objects.
        runner: runs the update again.
        panel: says whether a replay would have been flagged.
        directory: `RUN_DIR/incidents`, or None to write no bundles.
        accumulate: batches an update.
        clock: for durations.
    """

    def __init__(
        self,
        policy: RecoveryPolicy,
        subject: Subject,
        runner: UpdateRunner,
        panel: Detectors,
        directory: Path | None,
        accumulate: int,
        clock: Clock,
    ) -> None:
        self._policy = policy
        self._subject = subject
        self._runner = runner
        self._panel = panel
        self._directory = directory
        self._accumulate = accumulate
        self._clock = clock
        self._scaler: Any = None

    def before_discarding(self) -> None:
        """Note what discarding an update changes beside undoing it: the gradient scaler's back-off."""
        scaler = self._subject.scaler
        self._scaler = None if scaler is None else clone(scaler.state_dict())

    def look_into(
        self,
        observation: Observation,
        signals: tuple[Signal, ...],
        batch: Any,
        before: VolatileState,
        *,
        undone: bool,
        batch_number: int | None,
        indices: list[Any] | None,
        replays_done: int,
    ) -> Diagnosis | None:
        """Find the cause of a flagged update; None where the policy does not want to know, or no more in this incident.

        Args:
            observation: what the update measured, with what is wrong in the state.
            signals: what flagged it.
            batch: its batch, or its batches.
            before: the state before it beside parameters and optimizer.
            undone: whether it was discarded.
            batch_number: number of its last batch.
            indices: rows of the data set that its samples are, None where they are not known.
            replays_done: replays run in this incident already.
        """
        settings = self._policy.diagnose
        if not settings.enabled or replays_done >= settings.max_replays:
            return None
        flagged = FlaggedUpdate(
            observation=observation,
            signals=signals,
            batches=self._batches(batch),
            undone=undone,
            raised=self._runner.raised,
            batch_number=batch_number,
        )
        place = Update(observation.step, observation.update, observation.replayed)
        with self._runner.replaying():
            diagnosis = diagnose(
                flagged,
                self._subject,
                before,
                self._scaler,
                lambda batches, watched: self._observe(batches, watched, place),
                lambda seen: not self._policy.causes(self._panel.inspect(seen)),
                most_replays=settings.max_replays - replays_done,
                most_seconds=settings.max_seconds,
                clock=self._clock,
            )
        cause = diagnosis.cause
        if cause is None or indices is None or not cause.samples:
            return diagnosis
        return replace(
            diagnosis, cause=replace(cause, dataset_indices=tuple(indices[position] for position in cause.samples))
        )

    def write_bundle(
        self, incident: int, observation: Observation, batch: Any, before: VolatileState, *, undone: bool
    ) -> Bundle | None:
        """Write what is needed to run the step again beside the incident's record; None without a run directory."""
        most = self._policy.diagnose.max_bundle_mb * 2**20
        if self._directory is None or not self._policy.diagnose.enabled or most == 0:
            return None
        remove_bundle(self._directory / f"{incident - self._policy.diagnose.keep_bundles:04d}")
        return write_bundle(
            self._directory / f"{incident:04d}",
            self._batches(batch),
            self._subject,
            before,
            self._scaler,
            step=observation.step,
            update=observation.update,
            update_applied=not undone,
            most_bytes=most,
        )

    def _observe(
        self, batches: Sequence[Any], watched: Callable[[LossFunction], LossFunction] | None, place: Update
    ) -> Observation:
        batch = batches[0] if self._accumulate == 1 else tuple(batches)
        return self._runner.observe(batch, place, watched)

    def _batches(self, batch: Any) -> tuple[Any, ...]:
        return (batch,) if self._accumulate == 1 else tuple(batch)
